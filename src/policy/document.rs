//! The policy file as an operator writes it; [`super::compile`] makes a [`super::Policy`] of it.

mod allow;
mod limits;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ClaimPath;
use super::identity::MAX_VALUE_BYTES;
use crate::credential::CredentialKind;

pub use allow::{AllowFile, AnyAll, ClaimDemandFile, Day, DemandsFile, EmailFile, FreshFile, TimesFile, Who};
pub use limits::{
    CountsFile, LimitFile, LimitHeadersFile, NamesFile, RatesFile, RuleLimitFile, RuleLimitsFile, TierFile,
};

/// The policy file.
#[derive(Debug, Deserialize, JsonSchema)]
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
    /// What people are shown who are refused.
    #[serde(default)]
    pub refusals: RefusalsFile,
    /// How much somebody may: token buckets. Default: nobody is limited.
    #[serde(default)]
    pub limits: Vec<LimitFile>,
    /// What answers say of limits.
    #[serde(default)]
    pub limit_headers: LimitHeadersFile,
    /// The rules.
    pub rules: Vec<RuleFile>,
}

/// The names of the identity headers.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
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
    /// What becomes of blanks, commas inside an item, control and non-ASCII characters: `encode` (default) or `refuse`.
    pub unsafe_values: UnsafeValues,
    /// Longest value of one header, in bytes. Default `8192`, at most `65536`.
    pub max_bytes: usize,
}

/// One additional identity header.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ExtraHeaderFile {
    /// Its name.
    pub header: String,
    /// The claim that it carries.
    #[serde(default)]
    pub claim: Option<ClaimPath>,
    /// Its value if the token has no such claim. Default: the header is absent.
    #[serde(default)]
    pub default: Option<String>,
    /// Instead of `claim`: texts and claims, such as `{tenant}/{sub}` or `{email|unknown}`.
    #[serde(default)]
    pub template: Option<String>,
}

/// What becomes of a value that a header cannot carry as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum UnsafeValues {
    /// It is percent-encoded.
    Encode,
    /// The request is refused.
    Refuse,
}

/// One rule.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleFile {
    /// Its name: unique, `a-z 0-9 - _ .`, in every audit line.
    pub id: String,
    /// The rule set that it belongs to, which a proxy names when it asks. Default: the one for proxies that name none.
    #[serde(default)]
    pub set: Option<String>,
    /// The hosts: `shop.example.com`, `*.example.com` (every host below), or `*` (every host that
    /// no other rule names).
    pub hosts: Vec<String>,
    /// The paths: `/orders`, `/orders/{id}`, `/orders/{id:[0-9]+}`, `/orders/**` (it and everything below).
    pub paths: Vec<String>,
    /// The methods. Default: all but `OPTIONS` and `TRACE`. `GET` brings `HEAD`.
    #[serde(default)]
    pub methods: Option<Vec<String>>,
    /// Whom it lets in: `anonymous`, `optional`, `authenticated`, or demands.
    pub allow: AllowFile,
    /// Who may ask across origins. Default: preflights are refused.
    #[serde(default)]
    pub cors: Option<CorsFile>,
    /// Limits that are otherwise for it: `exempt`, or by their names. Default: all apply as they are.
    #[serde(default)]
    pub limits: Option<RuleLimitsFile>,
    /// What who is refused by it is told, instead of the usual sentence. One line.
    #[serde(default)]
    pub message: Option<String>,
    /// The kinds of credential that it takes, the preferred one first; others are ignored.
    /// Default `[bearer, cookie]`.
    #[serde(default)]
    pub credentials: Option<Vec<CredentialKind>>,
}

/// What people are shown who are refused, which programs never are.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RefusalsFile {
    /// What a navigation of a browser gets: `page` (default), or `problem` as programs do.
    pub people: PeopleFile,
    /// Where a navigation is sent that lacks a valid credential, such as `https://login.example.com/?return_to={url}`. Default: nowhere.
    pub sign_in: Option<String>,
}

/// What a navigation of a browser gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PeopleFile {
    /// A page.
    Page,
    /// What programs get: `application/problem+json`.
    Problem,
}

impl Default for RefusalsFile {
    fn default() -> Self {
        Self { people: PeopleFile::Page, sign_in: None }
    }
}

/// Who may ask across origins.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CorsFile {
    /// Origins such as `https://app.example.com`, or the one entry `*` for any.
    pub origins: Vec<String>,
    /// Headers beyond the safe ones, or `*`. Default none.
    #[serde(default)]
    pub headers: Vec<String>,
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
            unsafe_values: UnsafeValues::Encode,
            max_bytes: MAX_VALUE_BYTES,
        }
    }
}
