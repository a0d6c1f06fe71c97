use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::policy::{Policy, PolicyFile, RequestFacts};

fn policy() -> Policy {
    let rule = |id: &str, host: &str, path: &str, methods: Option<&[&str]>| {
        let mut rule = serde_json::json!({"id": id, "hosts": [host], "paths": [path], "allow": "anonymous"});
        if let Some(methods) = methods {
            rule["methods"] = methods.into();
        }
        rule
    };
    let rules = serde_json::json!({"rules": [
        rule("all", "h.test", "/**", None),
        rule("get", "h.test", "/a/**", Some(&["GET"])),
        rule("rest", "h.test", "/a/**", None),
        rule("one", "h.test", "/a/{id}", Some(&["POST"])),
        rule("number", "h.test", "/a/{id:[0-9]+}", None),
        rule("text", "h.test", "/a/b", None),
        rule("below", "*.test", "/**", None),
        rule("deep", "*.h.test", "/a", None),
        rule("any", "*", "/a", None),
    ]});
    let file: PolicyFile = serde_json::from_value(rules).expect("a policy");
    Policy::compile(&file).expect("a good policy")
}

fn facts<'a>(method: &'a str, host: &'a str, path: &'a str) -> RequestFacts<'a> {
    RequestFacts {
        rule_set: None,
        method: Method::parse(method.as_bytes()).expect("a method"),
        host: Host::parse(host.as_bytes()).expect("a host"),
        path: CanonicalPath::parse(path.as_bytes()).expect("a path"),
        preflight: None,
        client: [192, 0, 2, 1].into(),
    }
}

fn told(method: &str, host: &str, path: &str) -> Vec<(String, String)> {
    let policy = policy();
    let request = facts(method, host, path);
    let words = |outcome: &Outcome<'_>| match outcome {
        Outcome::Applies => "applies".to_owned(),
        Outcome::OtherHost => "other host".to_owned(),
        Outcome::HostGivesWay(host) => format!("host {host}"),
        Outcome::OtherPath => "other path".to_owned(),
        Outcome::PathGivesWay(path) => format!("path {path}"),
        Outcome::OtherMethod => "other method".to_owned(),
        Outcome::RuleGivesWay(rule) => format!("rule {}", rule.id),
    };
    let told = policy.considered(&request).into_iter().map(|one| (one.rule.id.to_string(), words(&one.outcome)));
    told.filter(|(_, words)| words != "other host").collect()
}

fn rows(rows: &[(&str, &str)]) -> Vec<(String, String)> {
    rows.iter().map(|(id, words)| ((*id).to_owned(), (*words).to_owned())).collect()
}

#[test]
fn each_rule_is_told_what_it_gives_way_to() {
    let wanted = rows(&[
        ("all", "path /a/{id:[0-9]+}"),
        ("get", "path /a/{id:[0-9]+}"),
        ("rest", "path /a/{id:[0-9]+}"),
        ("one", "path /a/{id:[0-9]+}"),
        ("number", "applies"),
        ("text", "other path"),
        ("below", "host h.test"),
        ("any", "host h.test"),
    ]);
    assert_eq!(told("GET", "h.test", "/a/7"), wanted);
    let wanted = rows(&[
        ("all", "path /a/**"),
        ("get", "applies"),
        ("rest", "rule get"),
        ("one", "other path"),
        ("number", "other path"),
        ("text", "other path"),
        ("below", "host h.test"),
        ("any", "host h.test"),
    ]);
    assert_eq!(told("GET", "h.test", "/a/x/y"), wanted);
    // Chosen by its path, and final: no rule fits the method.
    let told_of = told("GET", "h.test", "/a/x");
    assert!(told_of.contains(&("one".into(), "other method".into())), "{told_of:?}");
    assert!(told_of.contains(&("all".into(), "path /a/{id}".into())), "{told_of:?}");
    assert_eq!(
        told("GET", "x.h.test", "/b"),
        rows(&[("below", "host *.h.test"), ("deep", "other path"), ("any", "host *.h.test"),])
    );
    assert_eq!(told("GET", "elsewhere", "/b"), rows(&[("any", "other path")]));
}

#[test]
fn every_rule_is_listed_once() {
    let policy = policy();
    let ids: Vec<&str> = policy.rules().iter().map(|rule| &*rule.id).collect();
    assert_eq!(ids, ["all", "get", "rest", "one", "number", "text", "below", "deep", "any"]);
}

proptest! {
    /// What applies is what decides, whatever is asked.
    #[test]
    fn what_applies_is_what_the_route_finds(
        method in prop::sample::select(vec!["GET", "HEAD", "POST", "OPTIONS"]),
        host in prop::sample::select(vec!["h.test", "x.h.test", "x.test", "test", "elsewhere"]),
        path in prop::sample::select(vec!["/", "/a", "/a/", "/a/b", "/a/7", "/a/7/x", "/a/x", "/b", "/a/b/c"]),
    ) {
        let policy = policy();
        let request = facts(method, host, path);
        let considered = policy.considered(&request);
        let applies: BTreeSet<&str> =
            considered.iter().filter(|one| one.outcome == Outcome::Applies).map(|one| &*one.rule.id).collect();
        let found: BTreeSet<&str> = policy.route(&request).iter().map(|rule| &*rule.id).collect();
        prop_assert_eq!(applies, found);
        prop_assert_eq!(considered.len(), 9);
    }
}
