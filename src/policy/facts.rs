//! What a demand is judged on: the request, who is asking, and when.

use super::{Principal, RequestFacts};
use crate::clock::UnixTime;

/// Everything that a demand may look at.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// What is asked.
    pub request: &'a RequestFacts<'a>,
    /// Who is asking; nobody where a rule lets strangers in.
    pub principal: Option<&'a Principal>,
    /// When.
    pub now: UnixTime,
}
