//! The tests of a policy as they are written beside it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::explain::{Asked, default_client, default_method};

/// A file of cases.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CasesFile {
    /// The settings, of which the policy and what issuers' claims mean are taken. Default `portcullis.yaml`, beside the cases.
    #[serde(default = "settings")]
    pub(super) settings: PathBuf,
    /// Another policy than the settings name; a relative path starts at the cases.
    #[serde(default)]
    pub(super) policy: Option<PathBuf>,
    /// The cases.
    pub(super) cases: Vec<CaseFile>,
}

/// One case.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CaseFile {
    /// What it is about.
    pub(super) name: String,
    /// What is asked.
    pub(super) request: RequestFile,
    /// The claims of the credential that is shown, which counts as good.
    #[serde(default)]
    pub(super) claims: Option<Map<String, Value>>,
    /// Whether none is shown.
    #[serde(default)]
    pub(super) anonymous: bool,
    /// The issuer of the claims by its configured name; may be left out if there is one only.
    #[serde(default)]
    pub(super) issuer: Option<String>,
    /// When (RFC 3339). Default: now.
    #[serde(default)]
    pub(super) at: Option<String>,
    /// What must come of it.
    pub(super) expect: ExpectFile,
}

/// What is asked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RequestFile {
    url: String,
    #[serde(default = "default_method")]
    method: String,
    #[serde(default = "default_client")]
    client: IpAddr,
    #[serde(default)]
    set: Option<String>,
    /// Headers that decisions look at, such as those of a preflight.
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

impl RequestFile {
    pub(super) fn asked(&self) -> Asked {
        Asked {
            url: self.url.clone(),
            method: self.method.clone(),
            client: self.client,
            set: self.set.clone(),
            token: None,
            headers: self.headers.iter().map(|(name, line)| (name.clone(), vec![line.clone()])).collect(),
        }
    }

    /// On one line.
    pub(super) fn line(&self) -> String {
        let set = self.set.as_ref().map(|set| format!(", rule set {set}")).unwrap_or_default();
        format!("{} {} from {}{set}", self.method, self.url, self.client)
    }
}

/// What must come of a case; what is left out may be anything.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpectFile {
    /// The decision.
    pub(super) decision: Word,
    /// The code of the reason.
    #[serde(default)]
    pub(super) reason: Option<String>,
    /// The rule that is applied.
    #[serde(default)]
    pub(super) rule: Option<String>,
    /// The status.
    #[serde(default)]
    pub(super) status: Option<u16>,
    /// Headers of the answer; an empty value for one that must not be there, or be empty.
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
}

/// A decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Word {
    Allow,
    Deny,
}

impl Word {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

fn settings() -> PathBuf {
    "portcullis.yaml".into()
}
