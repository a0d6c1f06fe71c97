//! Portcullis: a proxy asks about every request before it forwards it, and this crate answers who is
//! asking, whether they may, and how much they may.
//!
//! # The map of the house
//! Each layer imports only what stands above it; `tests/architecture.rs` holds that.
//!
//! | layer | modules | knows |
//! |---|---|---|
//! | L0 | [`policy`], [`credential`], [`clock`], [`mistake`] | facts, paths, hosts, rules, demands, decisions; no IO, no wall clock |
//! | L1 | [`token`] | bytes, keys and `now` to verified claims |
//! | L2 | [`gate`] | the use case and the ports that it needs |
//! | L3 | [`protocol`], [`keys`], [`introspection`], [`revocations`], [`limits`], [`tls`]; [`provider`] for those that ask an issuer, [`redis`] for those that keep something in one | one outside thing each: a proxy's way of asking, where keys are, what an issuer says of opaque tokens, what is revoked, how full buckets are, certificates |
//! | L3 | [`explain`] | why a request is decided as it is, for people |
//! | L4 | [`config`], [`server`], [`telemetry`], [`cli`] | files, listeners, the clock, the environment |
//!
//! # One request walked through it
//! 1. [`server::decisions`] gathers the headers that anybody reads, in one pass.
//! 2. [`protocol::TrustedProxies`] admits the peer; [`protocol::endpoint`] finds the dialect and the
//!    step; the dialect makes [`policy::RequestFacts`], each fact from exactly one place, normalised
//!    by [`policy::CanonicalPath`] and [`policy::Host`].
//! 3. Under the one policy that [`gate::Gate::in_force`] gave for all of this, [`gate::Gate::decide`] finds the rule
//!    ([`policy::route`]), tells who is asking
//!    ([`gate::Authenticator`]: cache, [`token::Issuer::verify`], or for what is no JWT [`token::Issuer::verify_answer`]; then
//!    [`gate::Revocations`]), takes from the buckets of limits ([`gate::Limiter`]; of the address before a credential is proven), and lets
//!    [`policy::Rule::grant`] check the demands. A [`policy::Grant`] comes from nowhere else.
//! 4. [`protocol::Reply`] turns the decision into an answer: one status table, one place that writes
//!    identity headers.
//! 5. [`gate::audit`] writes the line, [`server::metrics`] counts.
//!
//! # Where a new thing goes
//! | a new | is one file | and |
//! |---|---|---|
//! | proxy dialect | `protocol/NAME.rs` | one entry in [`protocol::DIALECTS`] |
//! | credential | `credential/NAME.rs` | one variant and one arm in [`credential`] |
//! | demand | a variant of [`policy::Demand`] | its words in [`policy::document`] |
//! | source of keys | `keys/NAME.rs` | one key in [`config::settings::KeysFile`] |
//! | thing that has a bucket of its own | a variant of [`policy::limit::By`] | its word in `policy/compile/limits.rs` |
//! | store of revocations | `revocations/store/NAME.rs` | a variant of [`revocations::Kind`] |
//! | reason to refuse | a line in [`policy::reason`] | a row in the README |

pub mod cli;
pub mod clock;
pub mod config;
pub mod credential;
pub mod explain;
pub mod gate;
pub mod introspection;
pub mod keys;
pub mod limits;
pub mod mistake;
pub mod policy;
pub mod protocol;
pub mod provider;
pub mod redis;
pub mod revocations;
pub mod server;
pub mod telemetry;
pub mod tls;
pub mod token;

#[cfg(test)]
#[path = "../tests/blackbox/support/signer.rs"]
pub(crate) mod signer;
