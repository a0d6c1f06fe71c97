//! From the policy file to a [`Policy`]: everything is checked here, so that nothing can go wrong
//! when a request comes.

mod demands;
mod identity;
mod limits;
mod rules;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::cors::Preflight;
use super::demand::Patterns;
use super::document::{LimitHeadersFile, PolicyFile};
use super::limit::{Limit, LimitHeaders};
use super::refusals::Refusals;
use super::route::{Considered, RouteTable};
use super::{ClaimPath, Demand, IdentityHeaders, Reason, Refusal, RequestFacts, Rule};
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
    issuers: Vec<(String, Box<str>)>,
    /// What works and deserves a look.
    pub warnings: Vec<String>,
    /// What people are shown who are refused.
    pub refusals: Refusals,
    /// The limits, each at its place.
    pub limits: Vec<Arc<Limit>>,
    /// What answers say of them.
    pub limit_headers: LimitHeaders,
    /// The names of the claims that demands, limits and identity headers read, beside roles, scopes and tier: no others need be kept.
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

    /// What becomes of every rule of the rule set when `facts` are judged; empty if there is no such set.
    #[must_use]
    pub fn considered(&self, facts: &RequestFacts<'_>) -> Vec<Considered<'_>> {
        let Ok(routes) = self.routes(facts) else { return Vec::new() };
        let announced = facts.preflight.as_ref().filter(|_| self.route(facts).is_err());
        routes.considered(&facts.host, &facts.path, announced.map_or(facts.method, |preflight| preflight.method))
    }

    /// Every rule once; of each rule set in file order, those of the nameless one first.
    #[must_use]
    pub fn rules(&self) -> Vec<&Arc<Rule>> {
        let mut sets: Vec<_> = self.sets.iter().collect();
        sets.sort_by_key(|(name, _)| *name);
        let mut rules: Vec<&Arc<Rule>> = Vec::new();
        for rule in
            std::iter::once(&self.routes).chain(sets.into_iter().map(|(_, table)| table)).flat_map(RouteTable::rules)
        {
            // The places of one rule stand beside each other.
            if rules.last().is_none_or(|last| !Arc::ptr_eq(last, rule)) {
                rules.push(rule);
            }
        }
        rules
    }
}

impl Policy {
    /// What is wrong if these are the names of the issuers: rules that take the word of another one would let nobody in.
    #[must_use]
    pub fn unknown_issuers(&self, known: &[&str]) -> Vec<Mistake> {
        let unknown = self.issuers.iter().filter(|(_, name)| !known.contains(&&**name));
        let mistake = |(at, name): &(String, Box<str>)| {
            let remedy = format!("write one of the settings' issuers: {}", known.join(", "));
            Mistake::new(at.clone(), format!("there is no issuer `{name}`"), remedy)
        };
        unknown.map(mistake).collect()
    }

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
        let mut limits = limits::Limits::compile(&file.limits, &mut mistakes);
        claims.extend(limits.claims().map(Box::from));
        let (mut issuers, regexes) = (Vec::new(), Patterns::default());
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
                    rules::set_name(set, &at, &mut mistakes);
                    sets.entry(set.as_str().into()).or_insert_with(|| RouteTable::new(file.case_insensitive_paths))
                }
            };
            let rule = rules::add_rule(rule, &at, &regexes, &mut limits, table, &mut mistakes);
            let named = rule.demands().filter_map(|demand| {
                let Demand::Issuers(names) = demand else { return None };
                Some(names)
            });
            issuers.extend(named.flatten().map(|name| (format!("{at}.allow"), name.clone())));
            claims.extend(rule.claims().map(Box::from));
        }
        for table in std::iter::once(&mut routes).chain(sets.values_mut()) {
            if let Err(why) = table.finish() {
                mistakes.add("rules", why, "use fewer or simpler regular expressions at one place of the paths");
            }
        }
        limits.finish(&mut mistakes);
        let LimitHeadersFile { draft, x, on_allow } = file.limit_headers;
        let warnings = std::mem::take(&mut mistakes.warnings);
        mistakes.none_or(Self {
            warnings,
            routes,
            sets,
            identity,
            forbidden_status: file.forbidden_status,
            realm: file.realm.as_str().into(),
            issuers,
            refusals: refusals.unwrap_or(Refusals { pages: true, sign_in: None }),
            limits: limits.into_limits(),
            limit_headers: LimitHeaders { draft, x, on_allow },
            claims: claims.into_iter().collect(),
        })
    }
}

#[derive(Default)]
struct Mistakes {
    found: Vec<Mistake>,
    /// What works and deserves a look.
    warnings: Vec<String>,
}

impl Mistakes {
    fn add(&mut self, at: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) {
        self.found.push(Mistake::new(at, what, remedy));
    }

    fn warn(&mut self, what: String) {
        self.warnings.push(what);
    }

    /// Whether nothing was found at `at` or below it.
    fn none_below(&self, at: &str) -> bool {
        !self.found.iter().any(|mistake| mistake.at.starts_with(at))
    }

    fn none_or<T>(self, value: T) -> Result<T, Vec<Mistake>> {
        if self.found.is_empty() { Ok(value) } else { Err(self.found) }
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

#[cfg(test)]
mod tests;
