//! The policy file as an operator writes it; [`super::compile`] makes a [`super::Policy`] of it.

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde_json::Value;

use super::ClaimPath;
use crate::credential::CredentialKind;

/// The policy file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyFile {
    /// The status for an asker who is known and not allowed: 403 (default), or 401 as older
    /// gateways answer.
    #[serde(default = "forbidden")]
    pub forbidden_status: u16,
    /// The realm named in `WWW-Authenticate`. Default `portcullis`.
    #[serde(default = "realm")]
    pub realm: String,
    /// Whether paths match whatever their letter case; set it when an upstream ignores case.
    /// Default `false`.
    #[serde(default)]
    pub case_insensitive_paths: bool,
    /// The names of the headers that tell the upstream who is asking.
    #[serde(default)]
    pub identity_headers: IdentityHeadersFile,
    /// The rules.
    pub rules: Vec<RuleFile>,
}

/// The names of the identity headers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IdentityHeadersFile {
    /// Names the user: the token's `sub`. Default `X-User-ID`.
    pub user: String,
    /// Lists the roles. Default `X-User-Role`.
    pub roles: String,
    /// Names the tier. Default `X-User-Tier`.
    pub tier: String,
    /// The tier of a token that names none. Default `free`.
    pub default_tier: String,
    /// Additional headers, each from a claim. Default none.
    pub extra: Vec<ExtraHeaderFile>,
}

/// One additional identity header.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExtraHeaderFile {
    /// Its name.
    pub header: String,
    /// The claim that it carries.
    pub claim: ClaimPath,
}

/// One rule.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleFile {
    /// Its name: unique, `a-z 0-9 - _ .`, in every audit line.
    pub id: String,
    /// The hosts: `shop.example.com`, `*.example.com` (every host below), or `*` (every host that
    /// no other rule names).
    pub hosts: Vec<String>,
    /// The paths: `/orders`, `/orders/{id}`, `/orders/**` (it and everything below).
    pub paths: Vec<String>,
    /// The methods. Default: all but `OPTIONS` and `TRACE`. `GET` brings `HEAD`.
    #[serde(default)]
    pub methods: Option<Vec<String>>,
    /// Whom it lets in: `anonymous`, `authenticated`, or demands.
    pub allow: AllowFile,
    /// The kinds of credential that it takes, the preferred one first; others are ignored.
    /// Default `[bearer, cookie]`.
    #[serde(default)]
    pub credentials: Option<Vec<CredentialKind>>,
}

/// Whom a rule lets in: the word `anonymous`, the word `authenticated`, or a map of demands.
#[derive(Debug)]
pub enum AllowFile {
    /// Anybody.
    Anonymous,
    /// Any principal.
    Authenticated,
    /// Principals that meet all of these.
    Demands(DemandsFile),
}

/// Demands; all that are given must be met.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DemandsFile {
    /// Roles: `{any: [admin, auditor]}` or `{all: [...]}`.
    #[serde(default)]
    pub roles: Option<AnyAll>,
    /// Scopes, in the same form.
    #[serde(default)]
    pub scopes: Option<AnyAll>,
    /// Claims: each a path and a test.
    #[serde(default)]
    pub claims: Vec<ClaimDemandFile>,
}

/// Some or all of a list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnyAll {
    /// At least one of these.
    Any(Vec<String>),
    /// All of these.
    All(Vec<String>),
}

/// One claim and exactly one test of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimDemandFile {
    /// Where the claim is.
    pub claim: ClaimPath,
    /// It must be exactly this text, number or boolean.
    #[serde(default)]
    pub equals: Option<Value>,
    /// It must be one of these.
    #[serde(default, rename = "in")]
    pub one_of: Option<Vec<Value>>,
    /// It must be a list that holds this.
    #[serde(default)]
    pub contains: Option<Value>,
}

impl<'de> Deserialize<'de> for AllowFile {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Allow;
        impl<'de> Visitor<'de> for Allow {
            type Value = AllowFile;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("`anonymous`, `authenticated`, or a map with `roles`, `scopes` or `claims`")
            }

            fn visit_str<E: Error>(self, word: &str) -> Result<AllowFile, E> {
                match word {
                    "anonymous" => Ok(AllowFile::Anonymous),
                    "authenticated" => Ok(AllowFile::Authenticated),
                    other => Err(E::unknown_variant(other, &["anonymous", "authenticated"])),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<AllowFile, A::Error> {
                DemandsFile::deserialize(MapAccessDeserializer::new(map)).map(AllowFile::Demands)
            }
        }
        deserializer.deserialize_any(Allow)
    }
}

fn forbidden() -> u16 {
    403
}

fn realm() -> String {
    "portcullis".to_owned()
}

impl Default for IdentityHeadersFile {
    fn default() -> Self {
        Self {
            user: "X-User-ID".to_owned(),
            roles: "X-User-Role".to_owned(),
            tier: "X-User-Tier".to_owned(),
            default_tier: "free".to_owned(),
            extra: Vec::new(),
        }
    }
}
