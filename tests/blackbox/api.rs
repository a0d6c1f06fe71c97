//! The gate asked directly, as a proxy asks it.
