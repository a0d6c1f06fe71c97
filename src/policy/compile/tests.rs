use serde_json::{Value, json};

use super::*;
use crate::policy::{CanonicalPath, Host, Method};

fn compile(policy: Value) -> Result<Policy, Vec<String>> {
    let file: PolicyFile = serde_json::from_value(policy).expect("the shape is right");
    Policy::compile(&file).map_err(|mistakes| mistakes.into_iter().map(|m| format!("{}: {}", m.at, m.what)).collect())
}

fn rule(changes: Value) -> Value {
    let mut rule = json!({"id": "r", "hosts": ["h"], "paths": ["/a"], "allow": "authenticated"});
    for (name, value) in changes.as_object().expect("object") {
        rule[name] = value.clone();
    }
    json!({"rules": [rule]})
}

#[test]
fn a_policy_answers_for_its_rules_only() {
    let policy = compile(rule(json!({}))).expect("policy");
    let ask = |host: &str, path: &str| {
        let facts = RequestFacts {
            rule_set: None,
            preflight: None,
            method: Method::parse(b"GET").expect("method"),
            host: Host::parse(host.as_bytes()).expect("host"),
            path: CanonicalPath::parse(path.as_bytes()).expect("path"),
            client: [192, 0, 2, 1].into(),
        };
        policy.route(&facts).map(|rule| rule.id.to_string()).map_err(|refusal| refusal.reason)
    };
    assert_eq!(ask("h", "/a").as_deref(), Ok("r"));
    assert_eq!(ask("h", "/b"), Err(Reason::NoRule));
    assert_eq!(ask("x", "/a"), Err(Reason::NoRule));
}

#[test]
fn a_policy_names_the_claims_that_it_reads() {
    let claims = json!([{"claim": "tenant.id", "equals": "acme"}, {"claim": "https://a.b/c", "contains": "x"}]);
    let mut policy = rule(json!({"allow": {"roles": {"any": ["user"]}, "claims": claims}}));
    policy["identity_headers"] = json!({"extra": [{"header": "X-User-Email", "claim": "email"}]});
    let names: Vec<Box<str>> = ["email", "https://a.b/c", "tenant"].map(Into::into).into();
    assert_eq!(compile(policy).expect("policy").claims, names);
}

#[test]
fn each_mistake_is_found_where_it_stands() {
    let table = [
        (json!({"id": "A b"}), "rules[0].id"),
        (json!({"id": ""}), "rules[0].id"),
        (json!({"hosts": []}), "rules[0].hosts"),
        (json!({"hosts": ["h", "h:80"]}), "rules[0].hosts[1]"),
        (json!({"hosts": ["*.*.h"]}), "rules[0].hosts[0]"),
        (json!({"hosts": ["é.example"]}), "rules[0].hosts[0]"),
        (json!({"paths": []}), "rules[0].paths"),
        (json!({"paths": ["/a", "/b/../c"]}), "rules[0].paths[1]"),
        (json!({"paths": ["/a", "/a"]}), "rules[0].paths[1]"),
        (json!({"methods": []}), "rules[0].methods"),
        (json!({"methods": ["get"]}), "rules[0].methods[0]"),
        (json!({"methods": ["CONNECT"]}), "rules[0].methods[0]"),
        (json!({"credentials": []}), "rules[0].credentials"),
        (json!({"credentials": ["bearer", "bearer"]}), "rules[0].credentials"),
        (json!({"allow": {}}), "rules[0].allow"),
        (json!({"allow": {"roles": {"any": []}}}), "rules[0].allow.roles.any"),
        (json!({"allow": {"roles": {"any": ["admin", ""]}}}), "rules[0].allow.roles.any"),
        (json!({"allow": {"scopes": {"all": [" "]}}}), "rules[0].allow.scopes.all"),
        (json!({"allow": {"claims": [{"claim": "a"}]}}), "rules[0].allow.claims[0]"),
        (json!({"allow": {"claims": [{"claim": "a", "equals": 1, "contains": 2}]}}), "rules[0].allow.claims[0]"),
        (json!({"allow": {"claims": [{"claim": "a", "in": []}]}}), "rules[0].allow.claims[0]"),
        (json!({"allow": {"claims": [{"claim": "a..b", "equals": 1}]}}), "rules[0].allow.claims[0].claim"),
    ];
    for (changes, at) in table {
        let mistakes = compile(rule(changes.clone())).expect_err("a mistake");
        assert!(mistakes.iter().any(|m| m.starts_with(&format!("{at}: "))), "{changes}: {mistakes:?}");
    }
}

#[test]
fn each_mistake_of_the_whole_is_found() {
    let table = [
        (json!({"forbidden_status": 404}), "forbidden_status"),
        (json!({"realm": "a\"b"}), "realm"),
        (json!({"rules": []}), "rules"),
        (json!({"identity_headers": {"user": "X_User"}}), "identity_headers.user"),
        (json!({"identity_headers": {"user": "Authorization"}}), "identity_headers.user"),
        (json!({"identity_headers": {"tier": "X-Forwarded-For"}}), "identity_headers.tier"),
        (json!({"identity_headers": {"tier": "x-user-id"}}), "identity_headers.tier"),
        (json!({"identity_headers": {"default_tier": ""}}), "identity_headers.default_tier"),
        (json!({"identity_headers": {"extra": [{"header": "X-A", "claim": ""}]}}), "identity_headers.extra[0].claim"),
        (
            json!({"identity_headers": {"extra": [{"header": "X-A", "claim": "a"}, {"header": "x-a", "claim": "b"}]}}),
            "identity_headers.extra[1].header",
        ),
    ];
    for (changes, at) in table {
        let mut policy = rule(json!({}));
        for (name, value) in changes.as_object().expect("object") {
            policy[name] = value.clone();
        }
        let mistakes = compile(policy).expect_err("a mistake");
        assert!(mistakes.iter().any(|m| m.starts_with(&format!("{at}: "))), "{changes}: {mistakes:?}");
    }
}

#[test]
fn all_mistakes_are_found_at_once_and_doubled_ids_named() {
    let policy = json!({"forbidden_status": 200, "rules": [
        {"id": "a", "hosts": ["h"], "paths": ["x"], "allow": "anonymous"},
        {"id": "a", "hosts": ["/"], "paths": ["/x"], "allow": {"roles": {"all": []}}},
    ]});
    let mistakes = compile(policy).expect_err("mistakes");
    assert_eq!(mistakes.len(), 5, "{mistakes:?}");
    assert!(mistakes.iter().any(|m| m.contains("the id `a` is taken by rules[0]")));
}
