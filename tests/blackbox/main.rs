//! Black-box tests: the real binary, alone and behind real proxies, asked from outside.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    reason = "a test that cannot go on panics"
)]

mod api;
mod container;
mod introspection;
mod issuers;
mod keys;
mod kubernetes;
mod limits;
mod proxies;
mod redis;
mod revocations;
mod support;
mod tls;
