//! The issuers, as an operator writes them.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::period::Period;
use crate::introspection::exchange::ClientAuth;
use crate::policy::ClaimPath;
use crate::token::{Algorithm, TokenKind};

/// A trusted issuer.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerFile {
    /// Its name in logs and metrics: `a-z 0-9 - _ .`.
    pub name: String,
    /// Its identifier: the exact text of its tokens' `iss`, trailing slash included.
    pub issuer: String,
    /// What it is, for better defaults of `accepts` and `claims`.
    #[serde(default)]
    pub preset: Option<Preset>,
    /// Whom its tokens must be meant for: one of these must be in `aud`.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// Takes tokens meant for anybody. Default `false`.
    #[serde(default)]
    pub danger_any_audience: bool,
    /// The clients that its tokens may be issued to: one of these must be `azp` (or `client_id`). Default: any.
    #[serde(default)]
    pub authorized_parties: Option<Vec<String>>,
    /// Its keys. Default: those that its metadata names.
    #[serde(default)]
    pub keys: KeysFile,
    /// Asks it over plain http, where whoever is on the way can exchange keys and answers, and read tokens and secrets. Default `false`.
    #[serde(default)]
    pub danger_allow_http_issuer: bool,
    /// The algorithms that it may use. Default: each key's own `alg`, or the usual one of its kind.
    #[serde(default)]
    pub algorithms: Option<Vec<Algorithm>>,
    /// Which kinds of token are taken. Default `[access_token]`.
    #[serde(default)]
    pub accepts: Option<Vec<TokenKind>>,
    /// What the header's `typ` may be; `none` stands for its absence. Default `[JWT, at+jwt]`.
    #[serde(default)]
    pub types: Option<Vec<String>>,
    /// How far its clock may be off. Default `5s`, at most `60s`.
    #[serde(default)]
    pub leeway: Option<Period>,
    /// The longest time from `iat` to `exp`. Default `1day`.
    #[serde(default)]
    pub max_lifetime: Option<Period>,
    /// Takes tokens without `exp`, which hold for ever. Default `false`.
    #[serde(default)]
    pub danger_no_expiry: bool,
    /// Where its tokens say what.
    #[serde(default)]
    pub claims: ClaimsFile,
    /// Asks it about tokens (RFC 7662). Default: it is not asked.
    #[serde(default)]
    pub introspection: Option<IntrospectionFile>,
}

/// How an issuer is asked about tokens (RFC 7662).
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct IntrospectionFile {
    /// Its introspection endpoint. Default: the one that its metadata names, if its keys are found by that, too.
    #[serde(default)]
    pub url: Option<String>,
    /// Who the gate is to it.
    pub client_id: String,
    /// A file with the gate's secret there; a line feed at its end is not part of it.
    #[serde(default)]
    pub client_secret_file: Option<PathBuf>,
    /// The environment variable that holds it.
    #[serde(default)]
    pub client_secret_env: Option<String>,
    /// How the gate shows it: `basic` or `post`. Default `basic`.
    #[serde(default)]
    pub auth: ClientAuth,
    /// Which tokens it is asked about. Default `[opaque]`.
    #[serde(default)]
    pub about: Option<Vec<AskedAbout>>,
    /// With what its opaque tokens begin. Default: all of them are its own.
    #[serde(default)]
    pub token_prefix: Option<String>,
    /// How long an active token is believed to stay so. Default `1min`, from `1s` to `1h`.
    #[serde(default)]
    pub max_age: Option<Period>,
    /// How long an inactive token is believed to stay so. Default `10s`, from `1s` to `5min`.
    #[serde(default)]
    pub negative_max_age: Option<Period>,
    /// Takes tokens for which the answer names no audience. Default `false`.
    #[serde(default)]
    pub danger_no_audience: bool,
    /// Takes tokens for which the answer has no `token_type`: refresh tokens, too, of some issuers. Default `false`.
    #[serde(default)]
    pub danger_no_token_type: bool,
}

/// The tokens that an issuer may be asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AskedAbout {
    /// What is no JWT.
    Opaque,
    /// JWTs that name it and that it has signed: such as Keycloak's lightweight ones, which say neither `sub` nor `aud`.
    Jwt,
}

/// A kind of issuer whose habits are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// Keycloak: `realm_access.roles`; the claim `typ` tells access, ID and other tokens apart, since one key signs all of them.
    Keycloak,
    /// Auth0: `permissions` are scopes, too.
    Auth0,
}

/// Where an issuer's keys are: at most one of these. None: its metadata says (OpenID Connect Discovery, RFC 8414).
#[derive(Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeysFile {
    /// The URL of its metadata, where that cannot be told from `issuer`.
    pub discovery_url: Option<String>,
    /// The URL of a JWK set, fetched in the background.
    pub jwks_url: Option<String>,
    /// A file with a JWK set.
    pub jwks_file: Option<PathBuf>,
    /// A file with one public key in PEM.
    pub pem_file: Option<PathBuf>,
    /// A file with a shared secret; a line feed at its end is not part of it.
    pub hmac_secret_file: Option<PathBuf>,
    /// The environment variable that holds a shared secret.
    pub hmac_secret_env: Option<String>,
    /// For whatever it is asked: believes only certificates signed by one in this PEM file. Default: the system's authorities.
    pub ca_file: Option<PathBuf>,
    /// For what is fetched: how often at least. Default `5min`, from `1s` to `1day`.
    pub refresh: Option<Period>,
    /// For what is fetched: how long the last good keys serve on while no newer ones can be had. Default `1day`.
    pub max_stale: Option<Period>,
}

impl KeysFile {
    /// Whether the keys are in a file or a secret, and nothing is fetched.
    #[must_use]
    pub fn are_local(&self) -> bool {
        self.jwks_file.is_some()
            || self.pem_file.is_some()
            || self.hmac_secret_file.is_some()
            || self.hmac_secret_env.is_some()
    }
}

/// Where an issuer's tokens say what.
#[derive(Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClaimsFile {
    /// Who it is. Default `sub`.
    pub subject: Option<ClaimPath>,
    /// The roles. Default `roles`; of the preset `keycloak`: `realm_access.roles`.
    pub roles: Option<ClaimPath>,
    /// Clients whose roles in `resource_access` count, too, as `CLIENT:ROLE`. Default none.
    pub client_roles: Vec<String>,
    /// The groups. Default `groups`.
    pub groups: Option<ClaimPath>,
    /// The scopes. Default `scope`.
    pub scopes: Option<ClaimPath>,
    /// More scopes. Default none; of the preset `auth0`: `permissions`.
    pub permissions: Option<ClaimPath>,
    /// The tier. Default `tier`.
    pub tier: Option<ClaimPath>,
    /// The tenant, for limits. Default `tenant`; of the preset `auth0`: `org_id`.
    pub tenant: Option<ClaimPath>,
}
