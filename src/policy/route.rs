//! From a request to its rule: one host table, one segment trie per host.
//!
//! The order of precedence is the order of descent, and each choice is final:
//! 1. the most specific host: exact, then the longest `*.suffix`, then `*`;
//! 2. the most specific path: segment by segment from the left, literal before `{name:REGEX}` (in file order) before `{name}`
//!    before `/**`;
//! 3. the method: rules that name it before rules that name none, then file order.
//!
//! A path that is chosen and has no rule for the method is refused: a stricter rule for `GET
//! /admin` never lets `POST /admin` fall through to a laxer `/**`.

mod considered;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use regex::{RegexSet, RegexSetBuilder};

use super::demand::Pattern as Regex;
use super::path::folded;
use super::pattern::{Pattern, Segment};
use super::{CanonicalPath, Host, Method, Rule};

pub use considered::{Considered, Outcome};

/// Methods that a rule without `methods` does not match: a preflight must not reach an upstream
/// unless a rule says so by name, and TRACE and CONNECT are nobody's ordinary request.
const BY_NAME_ONLY: [&str; 2] = ["OPTIONS", "TRACE"];

/// Largest automaton of the regular expressions of one place, in bytes: some ten thousand of the usual ones. It is memory only: the
/// engine is linear in the segment.
const MAX_SET_BYTES: usize = 32 * 1024 * 1024;

/// Longest segment that is put to regular expressions, in bytes. Their cost grows with it and with what they count, without waiting for
/// anything, so that no deadline ends it; ids, names and hashes are shorter. Where a host has such rules, longer ones match none of its
/// rules: they could not be told from those that a stricter rule means.
const MAX_MATCHED_BYTES: usize = 256;

/// A host pattern of the policy.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This host.
    Exact(Box<str>),
    /// Every host below this one: `*.example.com`, at any depth, not `example.com` itself.
    Below(Box<str>),
    /// Every host that no other pattern names.
    Any,
}

/// The methods that a rule matches; empty means all but [`BY_NAME_ONLY`]. `GET` brings `HEAD`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Methods(pub Vec<Box<str>>);

impl Methods {
    fn contain(&self, method: Method<'_>) -> bool {
        let method = method.as_str();
        if self.0.is_empty() {
            return !BY_NAME_ONLY.contains(&method);
        }
        self.0.iter().any(|m| **m == *method || (method == "HEAD" && **m == *"GET"))
    }

    /// Whether these, standing first, leave nothing for `later` to match.
    fn hide(&self, later: &Self) -> bool {
        let get = self.0.iter().any(|m| **m == *"GET");
        // Named methods are looked at before unnamed ones, so neither kind hides the other.
        self.0.is_empty() == later.0.is_empty() && later.0.iter().all(|m| self.0.contains(m) || (get && **m == *"HEAD"))
    }
}

/// What became of a rule that was added.
#[derive(Debug, Default)]
pub struct Added {
    /// The earlier rule that hides it completely; then it was not added.
    pub hidden_by: Option<Arc<Rule>>,
    /// Its methods that an earlier rule has at the same place already.
    pub taken: Vec<(Box<str>, Arc<Rule>)>,
}

/// The compiled rules.
#[derive(Debug, Default)]
pub struct RouteTable {
    exact: HashMap<Box<str>, usize, ahash::RandomState>,
    below: HashMap<Box<str>, usize, ahash::RandomState>,
    any: Option<usize>,
    tries: Vec<Node>,
    fold_case: bool,
    /// What was added, in file order, for people who ask why.
    written: Vec<Written>,
}

#[derive(Debug, Default)]
struct Node {
    literals: HashMap<Box<str>, Node, ahash::RandomState>,
    /// In file order.
    matching: BTreeMap<usize, (Regex, Node)>,
    /// All of `matching` in one automaton, so that one pass over the segment tells which match; none if there is only one.
    matching_set: Option<RegexSet>,
    /// Whether it or a node below it has such.
    matches_below: bool,
    any: Option<Box<Node>>,
    here: Vec<Entry>,
    rest: Vec<Entry>,
}

/// A place of a rule as it stands in the file.
#[derive(Debug)]
struct Written {
    host: HostPattern,
    pattern: Pattern,
    methods: Methods,
    rule: Arc<Rule>,
}

#[derive(Debug)]
struct Entry {
    methods: Methods,
    rule: Arc<Rule>,
}

impl RouteTable {
    /// An empty table; with `fold_case`, paths match whatever their letter case.
    #[must_use]
    pub fn new(fold_case: bool) -> Self {
        Self { fold_case, ..Self::default() }
    }

    /// Adds `rule` for one host pattern and one path pattern, unless an earlier rule hides it completely.
    pub fn add(&mut self, host: &HostPattern, pattern: &Pattern, methods: &Methods, rule: &Arc<Rule>) -> Added {
        let fold = self.fold_case;
        let Some(mut node) = self.trie(host) else { return Added::default() };
        for segment in &pattern.segments {
            node = match segment {
                Segment::Literal(text) if fold => node.literals.entry(folded(text).into()).or_default(),
                Segment::Literal(text) => node.literals.entry(text.as_str().into()).or_default(),
                Segment::Matching(regex) => node.matching(regex),
                Segment::Any => node.any.get_or_insert_default(),
            };
        }
        let entries = if pattern.rest { &mut node.rest } else { &mut node.here };
        let hidden_by = entries.iter().find(|earlier| earlier.methods.hide(methods));
        if let Some(earlier) = hidden_by {
            return Added { hidden_by: Some(Arc::clone(&earlier.rule)), taken: Vec::new() };
        }
        let taken = methods.0.iter().filter_map(|method| {
            let earlier = entries.iter().find(|earlier| earlier.methods.0.contains(method))?;
            Some((method.clone(), Arc::clone(&earlier.rule)))
        });
        let taken = taken.collect();
        let entry = Entry { methods: methods.clone(), rule: Arc::clone(rule) };
        let named = entries.iter().filter(|entry| !entry.methods.0.is_empty()).count();
        let position = if methods.0.is_empty() { entries.len() } else { named };
        entries.insert(position, entry);
        let (host, pattern, methods) = (host.clone(), pattern.clone(), methods.clone());
        self.written.push(Written { host, pattern, methods, rule: Arc::clone(rule) });
        Added { hidden_by: None, taken }
    }

    /// Makes it ready for questions. Call it once, after the last rule.
    ///
    /// # Errors
    /// What is wrong, if the regular expressions of one place are too large together.
    pub fn finish(&mut self) -> Result<(), String> {
        let fold = self.fold_case;
        self.tries.iter_mut().try_for_each(|trie| trie.finish(fold))
    }

    fn trie(&mut self, host: &HostPattern) -> Option<&mut Node> {
        let next = self.tries.len();
        let index = *match host {
            HostPattern::Exact(name) => self.exact.entry(name.clone()).or_insert(next),
            HostPattern::Below(suffix) => self.below.entry(suffix.clone()).or_insert(next),
            HostPattern::Any => self.any.get_or_insert(next),
        };
        if index == next {
            self.tries.push(Node::default());
        }
        self.tries.get_mut(index)
    }

    /// The rule for a request; none means refused.
    #[must_use]
    pub fn find(&self, host: &Host<'_>, path: &CanonicalPath<'_>, method: Method<'_>) -> Option<&Arc<Rule>> {
        let trie = self.tries.get(self.host(host.as_str())?)?;
        if trie.matches_below && path.segments().any(|segment| segment.len() > MAX_MATCHED_BYTES) {
            return None;
        }
        let entries =
            if self.fold_case { trie.descend(path.folded().segments()) } else { trie.descend(path.segments()) }?;
        entries.iter().find(|entry| entry.methods.contain(method)).map(|entry| &entry.rule)
    }

    fn host(&self, host: &str) -> Option<usize> {
        if let Some(index) = self.exact.get(host) {
            return Some(*index);
        }
        let mut rest = host;
        while let Some((_label, suffix)) = rest.split_once('.') {
            if let Some(index) = self.below.get(suffix) {
                return Some(*index);
            }
            rest = suffix;
        }
        self.any
    }
}

impl Node {
    /// The entries of the most specific pattern that matches `segments`. Each trie node is visited
    /// at most once per depth, and never deeper than the policy's longest pattern.
    fn descend<'s>(&self, mut segments: impl Iterator<Item = &'s str> + Clone) -> Option<&[Entry]> {
        let all_below = (!self.rest.is_empty()).then_some(&self.rest[..]);
        let Some(segment) = segments.next() else {
            return if self.here.is_empty() { all_below } else { Some(&self.here) };
        };
        let literal = self.literals.get(segment).and_then(|node| node.descend(segments.clone()));
        let matching = || {
            let Some(set) = &self.matching_set else {
                let (regex, node) = self.matching.get(&0)?;
                return regex.matches(segment).then(|| node.descend(segments.clone())).flatten();
            };
            set.matches(segment).iter().find_map(|i| self.matching.get(&i)?.1.descend(segments.clone()))
        };
        literal.or_else(matching).or_else(|| self.any.as_ref()?.descend(segments.clone())).or(all_below)
    }

    /// The node below `regex`, which the same text leads to again.
    fn matching(&mut self, regex: &Regex) -> &mut Self {
        let found = self.matching.iter().find(|(_, (own, _))| own == regex).map(|(index, _)| *index);
        let index = found.unwrap_or(self.matching.len());
        &mut self.matching.entry(index).or_insert_with(|| (regex.clone(), Self::default())).1
    }

    fn finish(&mut self, fold: bool) -> Result<(), String> {
        // Of one that ignores case, the pattern itself would not do.
        // What is folded is folded by more rules than an expression knows: `ß` is `ss` then.
        let odd = |source: &str| fold && (!source.is_ascii() || source.contains("(?"));
        if let Some((regex, _)) = self.matching.values().find(|(regex, _)| odd(regex.source())) {
            return Err(format!("with case_insensitive_paths `{}` must be of ASCII and without flags", regex.source()));
        }
        if self.matching.len() > 1 || (fold && !self.matching.is_empty()) {
            let sources = self.matching.values().map(|(regex, _)| format!("^(?:{})$", regex.source()));
            let set = RegexSetBuilder::new(sources).case_insensitive(fold).size_limit(MAX_SET_BYTES).build();
            self.matching_set = Some(set.map_err(|error| error.to_string())?);
        }
        let mut matches = !self.matching.is_empty();
        let matching = self.matching.values_mut().map(|(_, node)| node);
        let mut below = self.literals.values_mut().chain(matching).chain(self.any.as_deref_mut());
        below.try_for_each(|node| {
            node.finish(fold)?;
            matches |= node.matches_below;
            Ok::<(), String>(())
        })?;
        self.matches_below = matches;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
