//! What the black-box tests stand on: real proxies with the shipped files, a real OpenID Provider, an upstream that remembers every
//! byte of a request head, and a client that sends any bytes at all.

pub(crate) mod authority;
pub(crate) mod cluster;
pub(crate) mod gate;
pub(crate) mod provider;
pub(crate) mod proxy;
pub(crate) mod raw;
pub(crate) mod redis;
pub(crate) mod signer;
pub(crate) mod stand_in;
pub(crate) mod upstream;
pub(crate) mod wire;
