//! Settings from several places: the file, over it the environment, over it the flags.
//!
//! The `config` crate lays the layers over each other; which type a value has is decided when the
//! document is read, so a variable holds what the file would hold, and a list as `a,b`.

use std::collections::HashMap;

use config::{Config, ConfigError, Source, Value, ValueKind};

use super::document::{Document, Kind, Node, Step, spell};
use super::environment::PREFIX;
use super::report::{Origin, Report};
use crate::mistake::Mistake;

/// No list of the settings is longer; `config` would allocate up to any index it is given.
const MAX_INDEX: usize = 255;

impl Document {
    /// This document with the settings of the environment (`PORTCULLIS__ISSUERS__0__NAME` is
    /// `issuers[0].name`; other variables are ignored) and of the flags (`issuers.0.name`) on top.
    ///
    /// # Errors
    /// The names that can name no setting.
    pub fn layered(&self, environment: &[(String, String)], flags: &[(String, String)]) -> Result<Self, Report> {
        let mut variables: Vec<_> =
            environment.iter().filter_map(|(name, text)| Some((name, name.strip_prefix(PREFIX)?, text))).collect();
        variables.sort(); // `A` before `A__B`, whatever the order of the environment
        let mut overrides = Vec::new();
        let mut mistakes = Vec::new();
        let variables = variables.into_iter().map(|(name, path, text)| {
            Override::new(Origin::Environment(name.clone()), path.to_lowercase().split("__"), text)
        });
        let flags = flags.iter().map(|(path, text)| Override::new(Origin::Flag(path.clone()), path.split('.'), text));
        for one in variables.chain(flags) {
            one.map_or_else(|mistake| mistakes.push(mistake), |over| overrides.push(over));
        }
        if !mistakes.is_empty() {
            return Err(Report::new(&self.file, mistakes));
        }
        let merged = merge(&self.root, &overrides).map_err(|error| Report::plain(&self.file, error.to_string()))?;
        let mut layered = self.clone();
        overlay(&mut layered.root, &merged, &overrides);
        Ok(layered)
    }
}

/// One value from elsewhere.
struct Override {
    origin: Origin,
    path: String,
    text: String,
}

impl Override {
    fn new<'a>(origin: Origin, steps: impl Iterator<Item = &'a str>, text: &str) -> Result<Self, (Origin, Mistake)> {
        let path = steps.map(step).collect::<Option<Vec<Step>>>();
        match path.filter(|path| matches!(path.first(), Some(Step::Key(_)))) {
            Some(path) => Ok(Self { origin, path: spell(&path), text: text.to_owned() }),
            None => {
                let remedy = format!("write the keys that lead to it, and the places in lists from 0 to {MAX_INDEX}");
                Err((origin, Mistake::new("", "this names no setting", remedy)))
            }
        }
    }
}

/// `config` takes a path that it cannot parse for one long key, so only what it can parse may pass.
fn step(text: &str) -> Option<Step> {
    let is_index = text.bytes().all(|byte| byte.is_ascii_digit());
    let is_key = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    match text.parse() {
        _ if text.is_empty() => None,
        Ok(index) if is_index => (index <= MAX_INDEX).then_some(Step::Index(index)),
        _ => (is_key && !is_index).then(|| Step::Key(text.to_owned())),
    }
}

/// Under this key lies the document: `config` splits the keys of its top at their dots.
const TOP: &str = "settings";

/// The file, and each override on top of those before it. An overriding value has the override's
/// place in the list as its origin, and nothing else has one.
fn merge(root: &Node, overrides: &[Override]) -> Result<Value, ConfigError> {
    let file = Config::builder().add_source(Layer { path: TOP.to_owned(), value: shape(root) });
    let over = |(index, over): (usize, &Override)| Layer {
        path: format!("{TOP}.{}", over.path),
        value: Value::new(Some(&index.to_string()), over.text.clone()),
    };
    let layers = overrides.iter().enumerate().map(over).fold(file, |below, layer| below.add_source(layer));
    Ok(layers.build()?.cache.into_table()?.remove(TOP).unwrap_or_default())
}

#[derive(Debug, Clone)]
struct Layer {
    path: String,
    value: Value,
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<HashMap<String, Value>, ConfigError> {
        Ok(HashMap::from([(self.path.clone(), self.value.clone())]))
    }
}

/// The document for `config`, which needs no more than its keys and lists: what the file says is
/// read from the document, where it has a position.
fn shape(node: &Node) -> Value {
    let kind = match &node.kind {
        Kind::Null | Kind::Plain(_) | Kind::Text(_) => ValueKind::Nil,
        Kind::List(elements) => ValueKind::Array(elements.iter().map(shape).collect()),
        Kind::Section(entries) => {
            ValueKind::Table(entries.iter().map(|entry| (entry.key.clone(), shape(&entry.value))).collect())
        }
    };
    Value::new(None, kind)
}

/// Brings what overrides into the document.
fn overlay(node: &mut Node, merged: &Value, overrides: &[Override]) {
    let Some(first) = first_override(merged, overrides) else {
        return;
    };
    if let ValueKind::Table(table) = &merged.kind {
        for (key, value) in table {
            let Some(over) = first_override(value, overrides) else { continue };
            node.key_or_new(key, &over.origin).into_iter().for_each(|node| overlay(node, value, overrides));
        }
    } else if let ValueKind::Array(values) = &merged.kind {
        for (index, value) in values.iter().enumerate() {
            let Some(next) = values.iter().skip(index).find_map(|value| first_override(value, overrides)) else {
                break;
            };
            node.element_or_new(index, &next.origin).into_iter().for_each(|node| overlay(node, value, overrides));
        }
    } else {
        *node = Node::new(first.origin.clone(), Kind::Plain(first.text.clone()));
    }
}

/// The first override by its path, of those that a value holds.
fn first_override<'a>(value: &Value, overrides: &'a [Override]) -> Option<&'a Override> {
    let below = |value| first_override(value, overrides);
    if let ValueKind::Table(table) = &value.kind {
        table.values().filter_map(below).min_by_key(|over| &over.path)
    } else if let ValueKind::Array(values) = &value.kind {
        values.iter().find_map(below)
    } else {
        value.origin().and_then(|index| overrides.get(index.parse::<usize>().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Settings {
        #[serde(default)]
        listeners: BTreeMap<String, Listener>,
        #[serde(default)]
        issuers: Vec<Issuer>,
        #[serde(default)]
        proxies: Vec<String>,
        level: Option<String>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Listener {
        port: u16,
        #[serde(default)]
        tls: bool,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Issuer {
        name: String,
        #[serde(default)]
        claims: BTreeMap<String, String>,
        client_secret: Option<u8>,
    }

    const FILE: &str = "\
listeners:
  admin: {port: 1}
  Public: {port: 2, tls: true}
issuers:
  - name: a
    claims: {Roles: 010, groups.Name: g}
  - name: b
proxies: [10.0.0.0/8]
";

    fn pairs(given: &[(&str, &str)]) -> Vec<(String, String)> {
        given.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    fn layered(environment: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Settings, Report> {
        Document::parse("f", FILE)?.layered(&pairs(environment), &pairs(flags))?.read()
    }

    #[test]
    fn without_overrides_the_file_stays_as_it_is() {
        let settings = layered(&[("HOME", "/"), ("PORTCULLIS_PORT", "tcp://10.0.0.1:80")], &[]).unwrap();
        assert_eq!(settings, Document::parse("f", FILE).unwrap().read().unwrap());
        assert_eq!(settings.issuers[0].claims["Roles"], "010");
        assert_eq!(settings.issuers[0].claims["groups.Name"], "g");
        assert_eq!(settings.listeners["Public"], Listener { port: 2, tls: true });
    }

    #[test]
    fn the_environment_wins_over_the_file_and_flags_over_both() {
        let environment = [
            ("PORTCULLIS__LISTENERS__ADMIN__PORT", "81"),
            ("PORTCULLIS__LISTENERS__ADMIN__TLS", "true"),
            ("PORTCULLIS__ISSUERS__1__NAME", "007"),
            ("PORTCULLIS__ISSUERS__2__NAME", "c"),
            ("PORTCULLIS__PROXIES", "10.0.0.0/8, fd00::/8"),
            ("PORTCULLIS__LEVEL", "info"),
            ("PORTCULLIS__LISTENERS__NEW__PORT", "9"),
        ];
        let settings = layered(&environment, &[("listeners.admin.port", "82"), ("issuers.0.name", "z")]).unwrap();
        assert_eq!(settings.listeners["admin"], Listener { port: 82, tls: true });
        assert_eq!(settings.listeners["new"].port, 9);
        let names: Vec<&str> = settings.issuers.iter().map(|issuer| issuer.name.as_str()).collect();
        assert_eq!(names, ["z", "007", "c"]);
        assert_eq!(settings.issuers[0].claims.len(), 2);
        assert_eq!(settings.proxies, ["10.0.0.0/8", "fd00::/8"]);
        assert_eq!(settings.level.as_deref(), Some("info"));
        assert!(layered(&[("PORTCULLIS__PROXIES", "")], &[]).unwrap().proxies.is_empty());
    }

    #[test]
    fn mistakes_name_the_variable_or_the_flag() {
        let environment = [
            ("PORTCULLIS__LISTENERS__ADMIN__PORT", "eighty"),
            ("PORTCULLIS__LISTENERS__ADMIN__PROT", "80"),
            ("PORTCULLIS__LISTENERS__NEW__TLS", "true"),
            ("PORTCULLIS__ISSUERS__0__CLIENT_SECRET", "hunter2"),
            ("PORTCULLIS__ISSUERS__3__NAME", "d"),
        ];
        let report = layered(&environment, &[("listeners.Public.tls", "on"), ("level.x", "1")]).unwrap_err();
        assert_eq!(
            report.to_string(),
            "\
environment PORTCULLIS__ISSUERS__0__CLIENT_SECRET: `client_secret` is text; write a whole number from 0 to 255
environment PORTCULLIS__ISSUERS__3__NAME: `issuers[2]` is empty; write a section of keys and values
environment PORTCULLIS__LISTENERS__ADMIN__PORT: `port` is the text \"eighty\"; write a whole number from 0 to 65535
environment PORTCULLIS__LISTENERS__ADMIN__PROT: unknown key `prot`; did you mean `port`?
environment PORTCULLIS__LISTENERS__NEW__TLS: the key `port` is missing; add `port: …` to `listeners.new`
flag level.x: `level` is a section; write text
flag listeners.Public.tls: `tls` is the text \"on\"; write `true` or `false`"
        );
    }

    #[test]
    fn later_checks_name_the_variable_too() {
        let environment = pairs(&[("PORTCULLIS__ISSUERS__1__NAME", "x")]);
        let document = Document::parse("f", FILE).unwrap().layered(&environment, &[]).unwrap();
        let report = document.report(vec![
            Mistake::new("issuers[1].name", "`x` is not known", ""),
            Mistake::new("issuers[0].name", "`a` is not known", ""),
        ]);
        assert_eq!(
            report.to_string(),
            "f:5:11: `a` is not known\nenvironment PORTCULLIS__ISSUERS__1__NAME: `x` is not known"
        );
    }

    #[test]
    fn names_that_name_nothing_are_refused() {
        for name in ["", "A____B", "0", "__A", "A__99999999999999999999999", "A__256", "A__B.C", "Ä", "A__-0[1]", "A__"]
        {
            let variable = format!("PORTCULLIS__{name}");
            let report = layered(&[(&variable, "x")], &[]).unwrap_err().to_string();
            assert!(report.starts_with(&format!("environment {variable}: ")), "{report}");
        }
    }

    #[test]
    fn a_file_that_is_no_section_is_no_panic() {
        for text in ["- a", "a", "", "a.b: 1"] {
            let document = Document::parse("f", text).unwrap();
            let environment = pairs(&[("PORTCULLIS__LEVEL__X", "1"), ("PORTCULLIS__LEVEL", "2")]);
            assert!(
                document.layered(&environment, &[]).unwrap().read::<Settings>().is_err()
                    || text.is_empty()
                    || !text.contains('.')
            );
            assert!(document.layered(&[], &[]).unwrap().read::<Settings>().is_err() || text.is_empty());
        }
    }

    proptest! {
        #[test]
        fn no_name_panics(names in prop::collection::vec("PORTCULLIS__(LEVEL|ISSUERS|[A-Z0-2_.-]{1,3})(__[A-Z0-3_]{1,3}){0,3}", 0..5)) {
            let environment: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "1")).collect();
            drop(layered(&environment, &[]));
        }
    }
}
