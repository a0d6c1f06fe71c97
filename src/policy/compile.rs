//! From the policy file to a [`Policy`]: everything is checked here, so that nothing can go wrong
//! when a request comes.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::Value;

use super::demand::ClaimTest;
use super::document::{AllowFile, AnyAll, ClaimDemandFile, DemandsFile, IdentityHeadersFile, PolicyFile, RuleFile};
use super::pattern::Pattern;
use super::route::{HostPattern, Methods, RouteTable};
use super::{Access, ClaimPath, Demand, Host, IdentityHeaders, Method, Reason, Refusal, RequestFacts, Rule};
use crate::credential::CredentialKind;
use crate::mistake::Mistake;

/// A compiled policy: immutable, one snapshot per decision.
#[derive(Debug)]
pub struct Policy {
    routes: RouteTable,
    /// The identity headers.
    pub identity: IdentityHeaders,
    /// The status of [`super::Class::Forbidden`]: 403 or 401.
    pub forbidden_status: u16,
    /// The `realm` of challenges (RFC 9110 section 11.5).
    pub realm: Box<str>,
    /// The names of the claims that demands and identity headers read, beside roles, scopes and tier: no others need be kept.
    pub claims: Vec<Box<str>>,
}

impl Policy {
    /// The rule for a request.
    ///
    /// # Errors
    /// [`Reason::NoRule`] if none matches: what no rule names is refused.
    pub fn route(&self, facts: &RequestFacts<'_>) -> Result<&Arc<Rule>, Refusal> {
        self.routes.find(&facts.host, &facts.path, facts.method).ok_or_else(|| Reason::NoRule.into())
    }
}

impl Policy {
    /// Compiles a policy file.
    ///
    /// # Errors
    /// All mistakes of the file.
    pub fn compile(file: &PolicyFile) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Mistakes::default();
        if ![401, 403].contains(&file.forbidden_status) {
            mistakes.add(
                "forbidden_status",
                format!("{} is no status for a refusal", file.forbidden_status),
                "write 403 or 401",
            );
        }
        if file.realm.is_empty()
            || !file.realm.bytes().all(|b| b == b' ' || b.is_ascii_graphic() && b != b'"' && b != b'\\')
        {
            mistakes.add(
                "realm",
                "the realm cannot stand in a header",
                "write printable ASCII without quotes and backslashes",
            );
        }
        if file.rules.is_empty() {
            mistakes.add(
                "rules",
                "there are no rules, so that every request would be refused",
                "write at least one rule",
            );
        }
        let identity = identity(&file.identity_headers, &mut mistakes);
        let mut routes = RouteTable::new(file.case_insensitive_paths);
        let mut claims: BTreeSet<Box<str>> =
            identity.extra.iter().filter_map(|(_, path)| path.first()).map(Into::into).collect();
        let mut ids: HashMap<&str, usize> = HashMap::new();
        for (index, rule) in file.rules.iter().enumerate() {
            let at = format!("rules[{index}]");
            if let Some(first) = ids.insert(&rule.id, index) {
                mistakes.add(
                    format!("{at}.id"),
                    format!("the id `{}` is taken by rules[{first}]", rule.id),
                    "give each rule an id of its own",
                );
            }
            let rule = add_rule(rule, &at, &mut routes, &mut mistakes);
            claims.extend(rule.claims().filter_map(ClaimPath::first).map(Box::from));
        }
        mistakes.none_or(Self {
            routes,
            identity,
            forbidden_status: file.forbidden_status,
            realm: file.realm.as_str().into(),
            claims: claims.into_iter().collect(),
        })
    }
}

#[derive(Default)]
struct Mistakes(Vec<Mistake>);

impl Mistakes {
    fn add(&mut self, at: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) {
        self.0.push(Mistake::new(at, what, remedy));
    }

    fn none_or<T>(self, value: T) -> Result<T, Vec<Mistake>> {
        if self.0.is_empty() { Ok(value) } else { Err(self.0) }
    }
}

/// Headers that a proxy or HTTP itself gives a meaning: none may carry an identity.
const RESERVED_HEADERS: [&str; 32] = [
    "cache-control",
    "content-encoding",
    "content-language",
    "expect",
    "forwarded",
    "keep-alive",
    "proxy",
    "proxy-authenticate",
    "proxy-authorization",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-real-ip",
    "x-rewrite-url",
    "accept",
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "host",
    "location",
    "server",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "www-authenticate",
    "x-request-id",
];

fn identity(file: &IdentityHeadersFile, mistakes: &mut Mistakes) -> IdentityHeaders {
    let mut seen: Vec<String> = Vec::new();
    let mut name = |at: String, name: &str, mistakes: &mut Mistakes| -> Box<str> {
        let lower = name.to_ascii_lowercase();
        let token = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let reserved = RESERVED_HEADERS.contains(&lower.as_str())
            || lower.starts_with("x-portcullis-")
            || lower.starts_with("x-forwarded-")
            || lower.starts_with("x-envoy-");
        if !token {
            mistakes.add(
                &at,
                format!("`{name}` is no header name for an identity"),
                "write letters, digits and `-`; `_` and `.` are aliases of `-` to many upstreams",
            );
        } else if reserved {
            mistakes.add(
                &at,
                format!("`{name}` has a meaning of its own in HTTP or to the proxy"),
                "choose another name, such as X-User-ID",
            );
        } else if seen.contains(&lower) {
            mistakes.add(
                &at,
                format!("`{name}` stands for two identity headers"),
                "give each header a name of its own",
            );
        }
        seen.push(lower.clone());
        lower.into()
    };
    let user = name("identity_headers.user".into(), &file.user, mistakes);
    let roles = name("identity_headers.roles".into(), &file.roles, mistakes);
    let tier = name("identity_headers.tier".into(), &file.tier, mistakes);
    let extra = file.extra.iter().enumerate().map(|(i, extra)| {
        claim_path(format!("identity_headers.extra[{i}].claim"), &extra.claim, mistakes);
        (name(format!("identity_headers.extra[{i}].header"), &extra.header, mistakes), extra.claim.clone())
    });
    let extra = extra.collect();
    if file.default_tier.trim().is_empty() {
        mistakes.add(
            "identity_headers.default_tier",
            "the default tier is empty",
            "write the tier with the least rights, such as free",
        );
    }
    IdentityHeaders::new(&user, &roles, &tier, &file.default_tier, extra)
}

fn claim_path(at: String, path: &ClaimPath, mistakes: &mut Mistakes) {
    if !path.is_sane() {
        mistakes.add(
            at,
            format!("`{path}` is no claim path"),
            "write names joined by single dots, one URI, or a list of names",
        );
    }
}

fn add_rule(file: &RuleFile, at: &str, routes: &mut RouteTable, mistakes: &mut Mistakes) -> Arc<Rule> {
    if file.id.is_empty()
        || !file.id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b))
    {
        mistakes.add(
            format!("{at}.id"),
            format!("`{}` is no rule id", file.id),
            "write lower-case letters, digits, `-`, `_` and `.`",
        );
    }
    let rule = Arc::new(Rule {
        id: file.id.as_str().into(),
        access: access(&file.allow, &format!("{at}.allow"), mistakes),
        credentials: credentials(file, at, mistakes),
    });
    let methods = methods(file, at, mistakes);
    let hosts = each(&file.hosts, &format!("{at}.hosts"), "host", mistakes, host_pattern);
    let paths = each(&file.paths, &format!("{at}.paths"), "path", mistakes, Pattern::parse);
    for (_, host) in &hosts {
        for (i, pattern) in &paths {
            if let Some(earlier) = routes.add(host, pattern, &methods, &rule) {
                mistakes.add(
                    format!("{at}.paths[{i}]"),
                    format!(
                        "rule `{}` can never match here: rule `{}` has the same host, path and methods",
                        file.id, earlier.id
                    ),
                    "remove one of them, or make its methods differ",
                );
            }
        }
    }
    rule
}

/// Reads each text of a list that must not be empty.
fn each<T>(
    texts: &[String],
    at: &str,
    noun: &str,
    mistakes: &mut Mistakes,
    read: impl Fn(&str) -> Result<T, (String, String)>,
) -> Vec<(usize, T)> {
    if texts.is_empty() {
        mistakes.add(at, format!("the rule names no {noun}"), format!("write at least one {noun}"));
    }
    let mut values = Vec::with_capacity(texts.len());
    for (i, text) in texts.iter().enumerate() {
        match read(text) {
            Ok(value) => values.push((i, value)),
            Err((what, remedy)) => mistakes.add(format!("{at}[{i}]"), what, remedy),
        }
    }
    values
}

fn host_pattern(text: &str) -> Result<HostPattern, (String, String)> {
    if text == "*" {
        return Ok(HostPattern::Any);
    }
    let (below, name) = text.strip_prefix("*.").map_or((false, text), |suffix| (true, suffix));
    let wrong = || {
        (
            format!("`{text}` is no host"),
            "write a name such as shop.example.com (without port; punycode for non-ASCII), `*.example.com`, or `*`"
                .to_owned(),
        )
    };
    let host = Host::parse(name.as_bytes()).map_err(|_| wrong())?;
    let has_port = !name.starts_with('[') && name.contains(':') || name.contains("]:");
    if has_port {
        return Err(wrong());
    }
    let name = host.as_str().into();
    Ok(if below { HostPattern::Below(name) } else { HostPattern::Exact(name) })
}

fn methods(file: &RuleFile, at: &str, mistakes: &mut Mistakes) -> Methods {
    let Some(methods) = &file.methods else {
        return Methods::default();
    };
    let read = |text: &str| match Method::parse(text.as_bytes()) {
        Ok(method) => Ok(Box::from(method.as_str())),
        Err(_) => Err((
            format!("`{text}` is no method that can be asked for"),
            "write an upper-case method such as GET".to_owned(),
        )),
    };
    let methods = each(methods, &format!("{at}.methods"), "method", mistakes, read);
    Methods(methods.into_iter().map(|(_, method)| method).collect())
}

fn credentials(file: &RuleFile, at: &str, mistakes: &mut Mistakes) -> Vec<CredentialKind> {
    let Some(kinds) = &file.credentials else {
        return CredentialKind::DEFAULT.to_vec();
    };
    let at = format!("{at}.credentials");
    if matches!(file.allow, AllowFile::Anonymous) {
        mistakes.add(&at, "an anonymous rule looks at no credential", "remove it, or write allow: authenticated");
    }
    if kinds.is_empty() {
        mistakes.add(
            &at,
            "the rule takes no kind of credential",
            "write [bearer], [cookie], or leave the key out for both",
        );
    }
    if kinds.iter().enumerate().any(|(i, kind)| kinds.iter().take(i).any(|k| k == kind)) {
        mistakes.add(&at, "a kind of credential stands twice", "name each kind once, the preferred one first");
    }
    kinds.clone()
}

fn access(file: &AllowFile, at: &str, mistakes: &mut Mistakes) -> Access {
    match file {
        AllowFile::Anonymous => Access::Anonymous,
        AllowFile::Authenticated => Access::Principal(Vec::new()),
        AllowFile::Demands(file) => {
            let demands = demands(file, at, mistakes);
            if file.roles.is_none() && file.scopes.is_none() && file.claims.is_empty() {
                mistakes.add(at, "the map demands nothing", "write roles, scopes or claims, or the word authenticated");
            }
            Access::Principal(demands)
        }
    }
}

fn demands(file: &DemandsFile, at: &str, mistakes: &mut Mistakes) -> Vec<Demand> {
    let mut demands = Vec::new();
    let mut list =
        |key: &str, any_all: &Option<AnyAll>, any: fn(Vec<Box<str>>) -> Demand, all: fn(Vec<Box<str>>) -> Demand| {
            let (word, names, make) = match any_all {
                None => return,
                Some(AnyAll::Any(names)) => ("any", names, any),
                Some(AnyAll::All(names)) => ("all", names, all),
            };
            if names.is_empty() || names.iter().any(|name| name.trim().is_empty()) {
                mistakes.add(
                    format!("{at}.{key}.{word}"),
                    "the list is empty or holds an empty text",
                    "write at least one name",
                );
            }
            demands.push(make(names.iter().map(|name| name.as_str().into()).collect()));
        };
    list("roles", &file.roles, Demand::AnyRole, Demand::AllRoles);
    list("scopes", &file.scopes, Demand::AnyScope, Demand::AllScopes);
    for (i, claim) in file.claims.iter().enumerate() {
        let at = format!("{at}.claims[{i}]");
        claim_path(format!("{at}.claim"), &claim.claim, mistakes);
        let values = claim.equals.iter().chain(claim.one_of.iter().flatten()).chain(&claim.contains);
        if values.filter_map(Value::as_str).any(|text| text.trim().is_empty()) {
            mistakes.add(
                &at,
                format!("the claim `{}` is tested against an empty text", claim.claim),
                "write what it must be: tokens of strangers have empty claims, too",
            );
        }
        match claim_test(claim) {
            Some(test) => demands.push(Demand::Claim(claim.claim.clone(), test)),
            None => mistakes.add(
                at,
                format!(
                    "the claim `{}` needs exactly one test against texts, 64-bit integers or booleans",
                    claim.claim
                ),
                "write one of equals: VALUE, in: [VALUE, ...], contains: VALUE; quote what is no such number",
            ),
        }
    }
    demands
}

fn claim_test(file: &ClaimDemandFile) -> Option<ClaimTest> {
    // Numbers that fit no 64-bit integer are compared as doubles, where many are equal.
    let scalar = |value: &Value| value.is_string() || value.is_boolean() || value.is_i64() || value.is_u64();
    match (&file.equals, &file.one_of, &file.contains) {
        (Some(value), None, None) if scalar(value) => Some(ClaimTest::Equals(value.clone())),
        (None, Some(values), None) if !values.is_empty() && values.iter().all(scalar) => {
            Some(ClaimTest::In(values.clone()))
        }
        (None, None, Some(value)) if scalar(value) => Some(ClaimTest::Contains(value.clone())),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
