//! Issuers and their keys.

use std::time::Duration;

use super::Stage;
use crate::config::settings::issuers::Preset;
use crate::config::settings::{ClaimsFile, IssuerFile};
use crate::keys::file;
use crate::policy::ClaimPath;
use crate::token::issuer::{Audiences, LONGEST_LEEWAY, Terms};
use crate::token::kind::{Accepts, ToldBy};
use crate::token::mapping::Mapping;
use crate::token::{Issuer, TokenKind};

/// Longest lifetime that may be allowed: whoever needs a longer one says that there is none.
const MAX_MAX_LIFETIME: Duration = Duration::from_secs(366 * 24 * 3600);

impl Stage {
    /// The issuers, and their keys in the same order.
    pub(super) fn issuers(&mut self, files: &[IssuerFile]) -> (Vec<Issuer>, Vec<Option<file::Loaded>>) {
        if files.is_empty() {
            self.add("issuers", "no issuer is trusted, so that nobody could ever be told", "write at least one issuer");
        }
        let mut keys = Vec::new();
        let mut issuers: Vec<Issuer> = Vec::new();
        for (index, file) in files.iter().enumerate() {
            let at = format!("issuers[{index}]");
            let named = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
            if file.name.is_empty() || !file.name.bytes().all(named) {
                self.add(
                    format!("{at}.name"),
                    format!("`{}` is no issuer name", file.name),
                    "write lower-case letters, digits, `-`, `_` and `.`",
                );
            }
            if issuers.iter().any(|earlier| *earlier.name == *file.name) {
                self.add(
                    format!("{at}.name"),
                    format!("the name `{}` is taken", file.name),
                    "give each issuer a name of its own",
                );
            }
            if issuers.iter().any(|earlier| *earlier.issuer == *file.issuer) {
                self.add(
                    format!("{at}.issuer"),
                    "this issuer is configured twice",
                    "write all that it may do in one entry",
                );
            }
            if file.issuer.trim().is_empty() {
                self.add(
                    format!("{at}.issuer"),
                    "the issuer has no identifier",
                    "write the exact text of its tokens' `iss`",
                );
            }
            issuers.push(self.issuer(file, &at));
            keys.push(self.keys(index, file, &at));
        }
        self.opaque_tokens_are_told_apart(&issuers);
        (issuers, keys)
    }

    fn issuer(&mut self, file: &IssuerFile, at: &str) -> Issuer {
        if file.algorithms.as_ref().is_some_and(Vec::is_empty) {
            self.add(
                format!("{at}.algorithms"),
                "no algorithm is allowed",
                "name some, or leave the key out for those of the keys",
            );
        }
        self.preset(file, at);
        self.dangers(file);
        Issuer {
            authorized_parties: self.authorized_parties(file, at),
            accepts: self.accepts(file, at),
            terms: self.terms(file, at),
            mapping: self.mapping(file.preset, &file.claims, at),
            asked: self.asked(file, at),
            ..Issuer::new(&file.name, &file.issuer, self.audiences(file, at))
        }
    }

    /// Says at every start what was given up.
    fn dangers(&mut self, file: &IssuerFile) {
        let asking = file.introspection.as_ref();
        let dangers = [
            ("danger_any_audience", file.danger_any_audience, "tokens meant for anybody are taken"),
            ("danger_no_expiry", file.danger_no_expiry, "tokens may hold for ever"),
            (
                "danger_allow_http_issuer",
                file.danger_allow_http_issuer,
                "whoever is on the way can exchange keys and read tokens and the gate's secret",
            ),
            (
                "introspection.danger_no_audience",
                asking.is_some_and(|asking| asking.danger_no_audience),
                "tokens perhaps meant for other services are taken",
            ),
            (
                "introspection.danger_no_token_type",
                asking.is_some_and(|asking| asking.danger_no_token_type),
                "refresh tokens of some issuers are taken",
            ),
        ];
        for (key, _, what) in dangers.into_iter().filter(|(_, is_on, _)| *is_on) {
            self.warnings.push(format!("issuer `{}`: {key}: {what}", file.name));
        }
    }

    /// Whether the issuer looks like what it is said to be.
    fn preset(&mut self, file: &IssuerFile, at: &str) {
        let at = format!("{at}.preset");
        match file.preset {
            Some(Preset::Keycloak) if !file.issuer.contains("/realms/") => {
                self.add(
                    at,
                    "Keycloak's issuers end in `/realms/NAME`",
                    "write the `iss` of its tokens as `issuer`, or leave the preset out",
                );
            }
            Some(Preset::Keycloak) if file.issuer.ends_with('/') => {
                self.add(
                    at,
                    "Keycloak's issuers end without `/`",
                    "take the slash at `issuer` away, or leave the preset out",
                );
            }
            Some(Preset::Auth0) if !file.issuer.ends_with('/') => {
                self.add(at, "Auth0's issuers end in `/`", "write the slash at `issuer`, or leave the preset out");
            }
            Some(Preset::Keycloak | Preset::Auth0) | None => {}
        }
    }

    fn audiences(&mut self, file: &IssuerFile, at: &str) -> Audiences {
        let audiences = match (file.danger_any_audience, file.audiences.is_empty()) {
            (false, true) => {
                self.add(
                    format!("{at}.audiences"),
                    "tokens meant for other services would be taken",
                    "write the audience of your services, or danger_any_audience: true",
                );
                Audiences::OneOf(Vec::new())
            }
            (true, false) => {
                self.add(format!("{at}.danger_any_audience"), "it contradicts `audiences`", "remove one of them");
                Audiences::Any
            }
            (true, true) => Audiences::Any,
            (false, false) => Audiences::OneOf(file.audiences.iter().map(|aud| aud.as_str().into()).collect()),
        };
        if file.audiences.iter().any(|aud| aud.trim().is_empty()) {
            self.add(format!("{at}.audiences"), "an audience is empty", "remove it");
        }
        audiences
    }

    fn authorized_parties(&mut self, file: &IssuerFile, at: &str) -> Vec<Box<str>> {
        let parties = file.authorized_parties.as_deref();
        if parties.is_some_and(|list| list.is_empty() || list.iter().any(|party| party.trim().is_empty())) {
            self.add(
                format!("{at}.authorized_parties"),
                "it names nobody, or somebody without a name",
                "write the ids of the clients, or leave the key out for any",
            );
        }
        parties.unwrap_or_default().iter().map(|party| party.as_str().into()).collect()
    }

    fn accepts(&mut self, file: &IssuerFile, at: &str) -> Accepts {
        let mut accepts = Accepts::default();
        if let Some(types) = &file.types {
            let lower: Vec<String> = types.iter().map(|typ| typ.to_ascii_lowercase()).collect();
            let named = lower.iter().filter(|typ| *typ != "none");
            accepts.types = named.map(|typ| typ.strip_prefix("application/").unwrap_or(typ).into()).collect();
            accepts.untyped = lower.iter().any(|typ| typ == "none");
            if lower.is_empty() || lower.iter().any(|typ| typ.trim().is_empty()) {
                self.add(
                    format!("{at}.types"),
                    "no token type is taken, or one is empty",
                    "write [JWT, at+jwt]; add none for tokens without `typ`",
                );
            }
        }
        if let Some(kinds) = &file.accepts {
            if kinds.is_empty() {
                self.add(format!("{at}.accepts"), "no kind of token is taken", "write [access_token]");
            }
            accepts.kinds.clone_from(kinds);
        }
        if file.preset == Some(Preset::Keycloak) {
            accepts.told_by = ToldBy::TypClaim;
        }
        if accepts.kinds.contains(&TokenKind::IdToken) {
            let name = &file.name;
            self.warnings.push(format!(
                "issuer `{name}` has its ID tokens accepted: they are meant for the client that signed somebody in, not for services"
            ));
        }
        accepts
    }

    fn terms(&mut self, file: &IssuerFile, at: &str) -> Terms {
        let usual = Terms::default();
        let leeway = file.leeway.map_or(usual.leeway, |leeway| leeway.0);
        if leeway > LONGEST_LEEWAY {
            self.add(
                format!("{at}.leeway"),
                "every second of it prolongs every token",
                "write 60s or less; 5s is usual",
            );
        }
        let max_lifetime = file.max_lifetime.map_or(usual.max_lifetime, |longest| longest.0);
        if max_lifetime.is_zero() || max_lifetime > MAX_MAX_LIFETIME {
            self.add(
                format!("{at}.max_lifetime"),
                "no token could be taken, or nearly any",
                "write how long this issuer's tokens hold at most, up to a year; 1day is the default",
            );
        }
        Terms { leeway, max_lifetime, may_be_endless: file.danger_no_expiry }
    }

    pub(super) fn mapping(&mut self, preset: Option<Preset>, file: &ClaimsFile, at: &str) -> Mapping {
        let named = [
            ("subject", &file.subject),
            ("roles", &file.roles),
            ("groups", &file.groups),
            ("scopes", &file.scopes),
            ("permissions", &file.permissions),
            ("tier", &file.tier),
            ("tenant", &file.tenant),
        ];
        for (key, path) in named {
            if let Some(path) = path.as_ref().filter(|path| !path.is_sane()) {
                self.add(
                    format!("{at}.claims.{key}"),
                    format!("`{path}` is no claim path"),
                    "write names joined by single dots, one URI, or a list of names",
                );
            }
        }
        if file.client_roles.iter().any(|client| client.trim().is_empty()) {
            self.add(format!("{at}.claims.client_roles"), "a client is empty", "write the ids of clients");
        }
        let mut usual = Mapping::default();
        match preset {
            Some(Preset::Keycloak) => usual.roles = ClaimPath::new("realm_access.roles"),
            Some(Preset::Auth0) => {
                usual.permissions = Some(ClaimPath::new("permissions"));
                usual.tenant = ClaimPath::new("org_id");
            }
            None => {}
        }
        let or = |given: &Option<ClaimPath>, usual: ClaimPath| given.clone().unwrap_or(usual);
        Mapping {
            subject: or(&file.subject, usual.subject),
            roles: or(&file.roles, usual.roles),
            client_roles: file.client_roles.iter().map(|client| client.as_str().into()).collect(),
            groups: or(&file.groups, usual.groups),
            scopes: or(&file.scopes, usual.scopes),
            permissions: file.permissions.clone().or(usual.permissions),
            tier: or(&file.tier, usual.tier),
            tenant: or(&file.tenant, usual.tenant),
        }
    }
}
