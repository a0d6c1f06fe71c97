//! L0, the pure core: what is asked, who may, and the decision. No IO, no wall clock, no proxy.

pub mod claim;
pub mod compile;
pub mod cors;
pub mod decision;
pub mod demand;
pub mod document;
pub mod expression;
pub mod facts;
pub mod host;
pub mod identity;
pub mod limit;
pub mod path;
pub mod pattern;
pub mod principal;
pub mod reason;
pub mod refusals;
pub mod request;
pub mod route;
pub mod rule;

pub use claim::ClaimPath;
pub use compile::Policy;
pub use decision::{Decision, Grant, Refusal};
pub use demand::Demand;
pub use document::PolicyFile;
pub use expression::Expression;
pub use facts::Facts;
pub use host::Host;
pub use identity::IdentityHeaders;
pub use path::CanonicalPath;
pub use principal::Principal;
pub use reason::{Class, Reason};
pub use request::{Method, RequestFacts};
pub use rule::{Access, Rule, Step};
