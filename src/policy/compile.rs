//! From the policy file to a [`Policy`]: everything is checked here, so that nothing can go wrong
//! when a request comes.

mod demands;
mod identity;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::cors::{Cors, Preflight, is_origin};
use super::document::{AllowFile, CorsFile, PolicyFile, RuleFile, Who};
use super::path::is_invisible;
use super::pattern::Pattern;
use super::refusals::Refusals;
use super::route::{HostPattern, Methods, RouteTable};
use super::{ClaimPath, Demand, Host, IdentityHeaders, Method, Reason, Refusal, RequestFacts, Rule};
use crate::credential::CredentialKind;
use crate::mistake::Mistake;

/// A compiled policy: immutable, one snapshot per decision.
#[derive(Debug)]
pub struct Policy {
    routes: RouteTable,
    sets: HashMap<Box<str>, RouteTable, ahash::RandomState>,
    /// The identity headers.
    pub identity: IdentityHeaders,
    /// The status of [`super::Class::Forbidden`]: 403 or 401.
    pub forbidden_status: u16,
    /// The `realm` of challenges (RFC 9110 section 11.5).
    pub realm: Box<str>,
    /// The issuers that rules name, each with where it stands.
    pub issuers: Vec<(String, Box<str>)>,
    /// What people are shown who are refused.
    pub refusals: Refusals,
    /// The names of the claims that demands and identity headers read, beside roles, scopes and tier: no others need be kept.
    pub claims: Vec<Box<str>>,
}

impl Policy {
    /// The rule for a request.
    ///
    /// # Errors
    /// [`Reason::NoRule`] if none matches: what no rule names is refused; [`Reason::UnknownRuleSet`].
    pub fn route(&self, facts: &RequestFacts<'_>) -> Result<&Arc<Rule>, Refusal> {
        self.routes(facts)?.find(&facts.host, &facts.path, facts.method).ok_or_else(|| Reason::NoRule.into())
    }

    /// The rule of the request that a preflight announces.
    ///
    /// # Errors
    /// As [`Policy::route`].
    pub fn route_announced(&self, facts: &RequestFacts<'_>, preflight: &Preflight<'_>) -> Result<&Arc<Rule>, Refusal> {
        self.routes(facts)?.find(&facts.host, &facts.path, preflight.method).ok_or_else(|| Reason::NoRule.into())
    }

    fn routes(&self, facts: &RequestFacts<'_>) -> Result<&RouteTable, Refusal> {
        match facts.rule_set {
            None => Ok(&self.routes),
            Some(set) => self.sets.get(set).ok_or_else(|| Reason::UnknownRuleSet.into()),
        }
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
        let refusals = Refusals::compile(&file.refusals);
        if refusals.is_none() {
            mistakes.add(
                "refusals.sign_in",
                "this is no address to send people to",
                "write https://HOST/PATH?return_to={url}, or /PATH for the host that was asked for",
            );
        }
        let identity = identity::identity(&file.identity_headers, &mut mistakes);
        let mut routes = RouteTable::new(file.case_insensitive_paths);
        let mut sets: HashMap<Box<str>, RouteTable, ahash::RandomState> = HashMap::default();
        let mut claims: BTreeSet<Box<str>> = identity
            .extra
            .iter()
            .flat_map(|(_, template)| template.claims())
            .filter_map(ClaimPath::first)
            .map(Into::into)
            .collect();
        let mut issuers = Vec::new();
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
            let table = match &rule.set {
                None => &mut routes,
                Some(set) => {
                    set_name(set, &at, &mut mistakes);
                    sets.entry(set.as_str().into()).or_insert_with(|| RouteTable::new(file.case_insensitive_paths))
                }
            };
            let rule = add_rule(rule, &at, table, &mut mistakes);
            let named = rule.demands().filter_map(|demand| match demand {
                Demand::Issuers(names) => Some(names),
                _ => None,
            });
            issuers.extend(named.flatten().map(|name| (format!("{at}.allow"), name.clone())));
            claims.extend(rule.claims().map(Box::from));
        }
        for table in std::iter::once(&mut routes).chain(sets.values_mut()) {
            if let Err(why) = table.finish() {
                mistakes.add("rules", why, "use fewer or simpler regular expressions at one place of the paths");
            }
        }
        mistakes.none_or(Self {
            routes,
            sets,
            identity,
            forbidden_status: file.forbidden_status,
            realm: file.realm.as_str().into(),
            issuers,
            refusals: refusals.unwrap_or(Refusals { pages: true, sign_in: None }),
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

    /// Whether nothing was found at `at` or below it.
    fn none_below(&self, at: &str) -> bool {
        !self.0.iter().any(|mistake| mistake.at.starts_with(at))
    }

    fn none_or<T>(self, value: T) -> Result<T, Vec<Mistake>> {
        if self.0.is_empty() { Ok(value) } else { Err(self.0) }
    }
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
    if !is_name(&file.id) {
        mistakes.add(
            format!("{at}.id"),
            format!("`{}` is no rule id", file.id),
            "write lower-case letters, digits, `-`, `_` and `.`",
        );
    }
    let rule = Arc::new(Rule {
        id: file.id.as_str().into(),
        access: demands::access(&file.allow, &format!("{at}.allow"), mistakes),
        credentials: credentials(file, at, mistakes),
        message: message(file, at, mistakes),
        cors: file.cors.as_ref().map(|cors| self::cors(cors, &format!("{at}.cors"), mistakes)),
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

/// Longest message of a rule, in bytes: a sentence or two, not a page.
const MAX_MESSAGE_BYTES: usize = 500;

fn message(file: &RuleFile, at: &str, mistakes: &mut Mistakes) -> Option<Box<str>> {
    let message = file.message.as_deref()?;
    if message.trim().is_empty() || message.len() > MAX_MESSAGE_BYTES || message.chars().any(is_invisible) {
        mistakes.add(
            format!("{at}.message"),
            "the message is empty, too long, or holds what shows nothing",
            format!("write one line of at most {MAX_MESSAGE_BYTES} bytes"),
        );
    }
    Some(message.into())
}

fn cors(file: &CorsFile, at: &str, mistakes: &mut Mistakes) -> Cors {
    let any = matches!(&file.origins[..], [only] if only == "*");
    for (i, origin) in file.origins.iter().enumerate() {
        if !any && !is_origin(origin) {
            mistakes.add(
                format!("{at}.origins[{i}]"),
                format!("`{origin}` is no origin as browsers send it"),
                "write https://app.example.com: lower case, no path, the port only if it is not the usual one; or `*` alone",
            );
        }
    }
    if file.origins.is_empty() {
        mistakes.add(format!("{at}.origins"), "no origin may ask", "write at least one origin, or remove `cors`");
    }
    for (i, header) in file.headers.iter().enumerate() {
        if header.is_empty() || !header.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)) {
            mistakes.add(
                format!("{at}.headers[{i}]"),
                format!("`{header}` is no header name"),
                "write a name such as Authorization",
            );
        }
    }
    let origins = if any { Vec::new() } else { file.origins.iter().map(|origin| origin.as_str().into()).collect() };
    Cors { origins, headers: file.headers.iter().map(|header| header.to_ascii_lowercase().into()).collect() }
}

/// Whether it can be named in an address, unescaped.
fn set_name(set: &str, at: &str, mistakes: &mut Mistakes) {
    if !is_name(set) {
        mistakes.add(
            format!("{at}.set"),
            format!("`{set}` is no name of a rule set"),
            "write lower-case letters, digits, `-`, `_` and `.`",
        );
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b))
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
    let who = match &file.allow {
        AllowFile::Who(who) => Some(*who),
        AllowFile::Demands(demands) => demands.who,
    };
    if who == Some(Who::Anonymous) {
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

#[cfg(test)]
mod tests;
