//! L3: an issuer as a server: how it is asked, and what it says of itself. Adapters that ask one share this, and nothing else.

pub mod discovery;
pub mod fetch;
