//! Why a rule was chosen and the others were not, for people who ask. It looks at the same tables as [`RouteTable::find`], which
//! decides.

use std::fmt;
use std::sync::Arc;

use super::{Entry, HostPattern, Methods, Node, RouteTable, Written, folded};
use crate::policy::pattern::{Pattern, Segment};
use crate::policy::{CanonicalPath, Host, Method, Rule};

/// One place of a rule (a host, a path and its methods), and what became of it.
#[derive(Debug)]
pub struct Considered<'p> {
    /// The rule.
    pub rule: &'p Arc<Rule>,
    /// The host pattern.
    pub host: &'p HostPattern,
    /// The path pattern, as it was written.
    pub path: &'p str,
    /// The methods.
    pub methods: &'p Methods,
    /// Why it applies, or does not.
    pub outcome: Outcome<'p>,
}

/// What became of one place of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome<'p> {
    /// It applies.
    Applies,
    /// The host does not match.
    OtherHost,
    /// The host matches, and this pattern does so more specifically.
    HostGivesWay(&'p HostPattern),
    /// The path does not match.
    OtherPath,
    /// The path matches, and this pattern does so more specifically.
    PathGivesWay(&'p str),
    /// The method does not match, and no rule for another path is asked.
    OtherMethod,
    /// All of it matches, and so does this rule, which names the method or stands earlier.
    RuleGivesWay(&'p Rule),
}

/// A request on its way through the table.
struct Asked<'a, 'p> {
    host: &'a str,
    /// The trie of the host that is final.
    index: Option<usize>,
    path: &'a CanonicalPath<'a>,
    method: Method<'a>,
    /// Those of the path that is final.
    entries: &'p [Entry],
}

impl RouteTable {
    /// Every rule, in file order, once for each of its places.
    pub fn rules(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.written.iter().map(|written| &written.rule)
    }

    /// What becomes of every place of every rule when a request is judged, in file order.
    #[must_use]
    pub fn considered(&self, asked: &Host<'_>, path: &CanonicalPath<'_>, method: Method<'_>) -> Vec<Considered<'_>> {
        let index = self.host(asked.as_str());
        let path = if self.fold_case { path.folded() } else { path.clone() };
        let entries = index.and_then(|index| self.tries.get(index)?.descend(path.segments())).unwrap_or_default();
        let request = Asked { host: asked.as_str(), index, path: &path, method, entries };
        let considered = self.written.iter().map(|written| (written, self.outcome(written, &request)));
        considered
            .map(|(Written { host, pattern, methods, rule }, outcome)| Considered {
                rule,
                host,
                path: &pattern.source,
                methods,
                outcome,
            })
            .collect()
    }

    fn outcome<'p>(&'p self, written: &Written, asked: &Asked<'_, 'p>) -> Outcome<'p> {
        let is_chosen = |host: &HostPattern| self.place(host) == asked.index;
        if !is_chosen(&written.host) || asked.index.is_none() {
            let stronger = self.written.iter().map(|other| &other.host).find(|other| is_chosen(other));
            let stronger = stronger.filter(|_| written.host.matches(asked.host));
            return stronger.map_or(Outcome::OtherHost, Outcome::HostGivesWay);
        }
        let Some(own) = self.entries(written, Some(asked.path)) else { return Outcome::OtherPath };
        let is_final = |entries: &[Entry]| std::ptr::eq(entries, asked.entries);
        if !is_final(own) {
            let mut others = self.written.iter().filter(|other| is_chosen(&other.host));
            let stronger = others.find(|other| self.entries(other, None).is_some_and(is_final));
            return stronger.map_or(Outcome::OtherPath, |other| Outcome::PathGivesWay(&other.pattern.source));
        }
        match asked.entries.iter().find(|entry| entry.methods.contain(asked.method)) {
            _ if !written.methods.contain(asked.method) => Outcome::OtherMethod,
            Some(first) if Arc::ptr_eq(&first.rule, &written.rule) => Outcome::Applies,
            Some(first) => Outcome::RuleGivesWay(&first.rule),
            None => Outcome::OtherMethod,
        }
    }

    fn place(&self, host: &HostPattern) -> Option<usize> {
        match host {
            HostPattern::Exact(name) => self.exact.get(name).copied(),
            HostPattern::Below(suffix) => self.below.get(suffix).copied(),
            HostPattern::Any => self.any,
        }
    }

    /// The entries at the end of a pattern; none if `path` is given and does not match it.
    fn entries(&self, written: &Written, path: Option<&CanonicalPath<'_>>) -> Option<&[Entry]> {
        let Pattern { segments, rest, .. } = &written.pattern;
        let mut asked = path.map(|path| path.segments());
        let mut node = self.tries.get(self.place(&written.host)?)?;
        for segment in segments {
            let text = match &mut asked {
                Some(asked) => Some(asked.next()?),
                None => None,
            };
            node = node.below(segment, text, self.fold_case)?;
        }
        let is_whole = asked.is_none_or(|mut asked| *rest || asked.next().is_none());
        is_whole.then_some(if *rest { &node.rest } else { &node.here })
    }
}

impl Node {
    /// The node that a segment of a pattern leads to; none if `text` is given and does not match it.
    fn below(&self, segment: &Segment, text: Option<&str>, fold: bool) -> Option<&Self> {
        match segment {
            Segment::Literal(literal) => {
                let literal = if fold { folded(literal) } else { literal.clone() };
                let matches = text.is_none_or(|text| text == literal);
                self.literals.get(&*literal).filter(|_| matches)
            }
            Segment::Matching(regex) => {
                let (index, (_, node)) = self.matching.iter().find(|(_, (own, _))| own == regex)?;
                let matches = |text| match &self.matching_set {
                    Some(set) => set.matches(text).matched(*index),
                    None => regex.matches(text),
                };
                text.is_none_or(matches).then_some(node)
            }
            Segment::Any => self.any.as_deref(),
        }
    }
}

impl HostPattern {
    /// Whether a host matches, be it less specifically than another pattern.
    fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => **name == *host,
            Self::Below(suffix) => {
                host.strip_suffix(&**suffix).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
            }
            Self::Any => true,
        }
    }
}

/// As it is written in the policy.
impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Below(suffix) => write!(f, "*.{suffix}"),
            Self::Any => f.write_str("*"),
        }
    }
}

#[cfg(test)]
mod tests;
