//! The gate behind a real Traefik and a real Envoy, with the files that users copy.
//!
//! What must hold behind both is one function over [`shop::Kind`], and two tests of it.

mod shop;

mod chain;
mod demo;
mod identity;
mod limits;
mod load_balancer;
mod outage;
mod parity;
mod paths;
mod refusals;
mod request_id;
mod transports;
