//! Nobody but the proxy's own configuration chooses which question is asked.

use super::probe::{Probe, Step, together};
use crate::support::gate::{Config, Gate, token};
use crate::support::raw;

/// Whoever gets the half check here is let into the administration.
const POLICY: &str = "\
rules:
  - {id: everything, hosts: ['*'], paths: ['/**'], allow: {roles: {any: [admin]}}}
";

const FACTS: [(&str, &str); 4] = [
    ("X-Forwarded-Method", "GET"),
    ("X-Forwarded-Uri", "/admin"),
    ("X-Forwarded-Host", raw::HOST),
    ("X-Forwarded-For", "203.0.113.7"),
];

#[tokio::test]
async fn a_client_behind_envoy_cannot_choose_the_half_check() {
    let gate = Gate::start(&Config::with_policy(POLICY));
    let user = token("alice", &["user"]);
    // The half check itself lets this user pass: that is what a client would like to reach.
    Probe::envoy().step(Step::Authn).uri("/admin").bearer(&user).ask(&gate).await.expect(200, "allowed");
    let plain = [
        "/",
        "/authn",
        "/authn/x",
        "/-authn/x",
        "/validate-authn/x",
        "/validate/authn",
        "/envoy/authn/x",
        "/authz/x",
        "/x?/../validate-authn/x",
    ];
    together(plain.iter().map(async |path| {
        Probe::envoy().uri(path).bearer(&user).ask(&gate).await.expect(403, "missing_role");
    }))
    .await;
    let odd = [
        "/../validate-authn/x",
        "//x",
        "/..;/validate-authn/x",
        "//",
        "/%2e%2e/validate-authn/x",
        "/..%2fvalidate-authn/x",
        "/./authn/x",
        "/;/x",
        "/x//authn",
    ];
    together(odd.iter().map(async |path| {
        Probe::envoy().uri(path).bearer(&user).ask(&gate).await.expect(400, "ambiguous_path");
    }))
    .await;
    for uri in ["", "authn/x", "*", "?", "?/authn/x", "%2f", "%2fauthn/x", "-authn", "-authz", ".", "..", ";/x"] {
        Probe::envoy().uri(uri).bearer(&user).ask(&gate).await.expect(404, "unknown_endpoint");
    }
    // A prefix that was configured with a slash at its end makes every path begin with two: refused, not repaired.
    for uri in ["//", "//admin", "//authn/x"] {
        Probe::envoy().uri(uri).bearer(&user).ask(&gate).await.expect(400, "ambiguous_path");
    }
}

/// Envoy itself takes no path that does not begin with a slash. Should another proxy of its kind let one through, the prefix of the
/// whole check must not grow into that of the half check.
#[tokio::test]
async fn not_even_a_path_without_a_slash_chooses_the_half_check() {
    let gate = Gate::start(&Config::with_policy(POLICY));
    let user = token("alice", &["user"]);
    for uri in ["-authn/x", "-authn/", "-authz/x"] {
        let answer = Probe::envoy().uri(uri).bearer(&user).ask(&gate).await;
        assert_ne!(answer.status(), 200, "{answer:#?}");
    }
}

#[tokio::test]
async fn only_the_exact_endpoints_of_traefik_are_endpoints() {
    let gate = Gate::start(&Config::with_policy(POLICY));
    let bearer = format!("Bearer {}", token("alice", &["user"]));
    let mut facts = FACTS.to_vec();
    facts.push(("Authorization", &bearer));
    // Of the query only the rule set counts: some proxies append the client's.
    for (target, status, reason) in [
        ("/validate", 403, "missing_role"),
        ("/validate?", 403, "missing_role"),
        ("/validate?policy=", 403, "unknown_rule_set"),
        ("/validate?/authn", 403, "missing_role"),
        ("/validate?x=/validate/authn", 403, "missing_role"),
        ("/validate/authz?x", 403, "missing_role"),
        ("/validate/authn?x", 200, "allowed"),
        ("/validate/authn?step=authz", 200, "allowed"),
    ] {
        gate.send("GET", target, &facts).await.expect(status, reason);
        gate.send("POST", target, &facts).await.expect(status, reason);
        gate.send("HEAD", target, &facts).await.expect(status, reason);
    }
    for target in [
        "/validate/",
        "/Validate",
        "/VALIDATE",
        "/validate%2f",
        "/validate%2fauthn",
        "/validate%2Fauthn",
        "//validate",
        "/validate//authn",
        "/validate/authn/",
        "/validate/authn/x",
        "/validate/authn%20",
        "/validate/./authn",
        "/x/../validate",
        "/%76alidate",
        "/validate;",
        "/validate;x/authn",
        "/validate/authn;x",
        "/validateauthn",
        "/validate-authn",
        "/validate/Authn",
        "/validate/authnx",
        "/validate/x",
        "/validate/../validate",
        "/validate\\authn",
        "/envoy/validate",
        "/envoy/validate?x",
        "/envoy/authn",
        "/envoy/authn?/x",
        "/Envoy/validate/x",
        "/envoy//validate/x",
        "//envoy/validate/x",
        "/envoy/validate%2fx",
        "/envoy/authnx/x",
        "/envoy/validatex/x",
        "/envoy/x/validate/x",
        "/envoy/validate;/x",
    ] {
        gate.send("GET", target, &facts).await.expect(404, "unknown_endpoint");
    }
}

#[tokio::test]
async fn a_target_with_a_fragment_is_no_other_endpoint() {
    // The parser cuts a fragment off before anybody sees it. Traefik's endpoints lose nothing by it.
    let gate = Gate::start(&Config::with_policy(POLICY));
    let bearer = format!("Bearer {}", token("alice", &["user"]));
    let mut facts = FACTS.to_vec();
    facts.push(("Authorization", &bearer));
    gate.send("GET", "/validate#/authn", &facts).await.expect(403, "missing_role");
    gate.send("GET", "/#/validate/authn", &facts).await.expect(404, "unknown_endpoint");
}
