//! The gate asked directly, as a proxy asks it.

mod bad_input;
mod certificate;
mod configuration;
mod contract;
mod credentials;
mod decisions;
mod dialects;
mod endpoints;
pub(crate) mod inspect;
mod metrics;
mod operations;
mod policy;
mod probe;
mod public;
mod reload;
mod threats_a;
mod threats_b;
mod threats_c;
mod threats_d;
mod threats_e;
mod threats_e10;
mod threats_f;
mod threats_h;
mod tokens;
