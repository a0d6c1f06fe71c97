//! nginx and Caddy ask like Traefik, at addresses of their own: what holds for it holds for them.

use super::probe::{Dialect, Probe, STEPS, Step, absent, counted, said, together};
use crate::support::gate::{Config, Gate, token};
use crate::support::raw;

const OTHERS: [(Dialect, &str); 2] = [(Dialect::Nginx, "nginx"), (Dialect::Caddy, "caddy")];

/// Asks in both dialects what Traefik would ask, and wants what Traefik would be told, as far as the proxy passes it on.
async fn answers_as_to_traefik(gate: &Gate, cases: &[(Probe, u16, &'static str)]) {
    for (dialect, name) in OTHERS {
        together(cases.iter().map(async |(probe, status, reason)| {
            probe.ask(gate).await.expect(*status, reason);
            let answer = probe.clone().dialect(dialect).ask(gate).await;
            // nginx makes 500 of all but 401 and 403: the others are told as 403, what they are beside it.
            let folded = dialect == Dialect::Nginx && *status >= 400;
            let told = if folded && *status != 401 { 403 } else { *status };
            answer.expect(told, reason);
            assert_eq!(answer.audit["dialect"], name, "{answer:#?}");
            let aside = [answer.header("x-portcullis-status"), answer.header("x-portcullis-reason")];
            let (status, reason) = (status.to_string(), *reason);
            assert_eq!(aside, if folded { [Some(&*status), Some(reason)] } else { [None; 2] }, "{answer:#?}");
        }))
        .await;
    }
}

#[tokio::test]
async fn nginx_and_caddy_are_answered_as_traefik_is() {
    let gate = Gate::shop();
    let user = token("alice", &["user"]);
    let probe = || Probe::traefik().bearer(&user);
    let mut cases = vec![
        (Probe::traefik(), 401, "no_credential"),
        (probe(), 200, "allowed"),
        (Probe::traefik().cookie(&user), 200, "allowed"),
        (Probe::traefik().uri("/health"), 200, "allowed"),
        (probe().uri("/products/admin"), 403, "missing_role"),
        (probe().uri("/products/%61dmin"), 403, "missing_role"),
        (probe().uri("/nowhere"), 403, "no_rule"),
        (probe().method("OPTIONS"), 403, "no_rule"),
        (probe().method("get"), 400, "malformed_method"),
        (probe().bearer(&user), 400, "doubled_credential"),
        (Probe::traefik().bearer("x"), 401, "malformed_token"),
        (probe().host("SHOP.localhost.:8443"), 200, "allowed"),
        (probe().host("a,shop.localhost"), 400, "malformed_host"),
        (probe().header("X-Original-URL", "/health"), 400, "conflicting_uri"),
        (probe().instead("X-Forwarded-Proto", "https,http"), 400, "malformed_proto"),
        (probe().instead("X-Forwarded-For", "evil"), 400, "malformed_client"),
    ];
    for name in ["X-Forwarded-Method", "X-Forwarded-Host", "X-Forwarded-Uri", "X-Forwarded-For"] {
        cases.push((probe().without(name), 400, "missing_forwarded"));
        cases.push((probe().header(name, "/health"), 400, "doubled_forwarded"));
    }
    for uri in ["/public/../products", "//products", "/products;x", "/products%2fadmin", "/products\\admin", "/a%00"] {
        cases.push((probe().uri(uri), 400, "ambiguous_path"));
    }
    for uri in ["", "*", "/products#x", "/a?b#c", "http://shop.localhost/health", "/%zz", "/\u{e9}"] {
        cases.push((probe().uri(uri), 400, "malformed_uri"));
    }
    answers_as_to_traefik(&gate, &cases).await;
    for (_, name) in OTHERS {
        assert!(counted(&gate, &format!("outcome=\"allow\",dialect=\"{name}\"")).await > 0);
        assert!(counted(&gate, &format!("outcome=\"deny\",dialect=\"{name}\"")).await > 0);
    }
}

#[tokio::test]
async fn c2_they_too_hear_of_every_identity_header() {
    let gate = Gate::shop();
    let names = ["x-user-id", "x-user-role", "x-user-tier"];
    for (dialect, step) in OTHERS.iter().flat_map(|(dialect, _)| STEPS.map(|step| (*dialect, step))) {
        let probe = || names.iter().fold(Probe::new(dialect).step(step), |probe, name| probe.header(name, "root"));
        let open = probe().uri("/health").ask(&gate).await;
        assert_eq!(names.map(|name| said(&open, name)), [absent(dialect); 3], "{open:#?}");
        let known = probe().bearer(&token("alice", &["user"])).ask(&gate).await;
        let half = step == Step::Authn;
        let wanted =
            [Some("alice"), if half { Some("") } else { Some("user") }, if half { Some("") } else { Some("free") }];
        assert_eq!(names.map(|name| said(&known, name)), wanted, "{known:#?}");
        probe().ask(&gate).await.expect(401, "no_credential");
        assert_eq!(known.header("x-envoy-auth-headers-to-remove"), None);
    }
}

#[tokio::test]
async fn c5_only_their_exact_endpoints_are_endpoints() {
    let policy = "rules:\n  - {id: all, hosts: ['*'], paths: ['/**'], allow: {roles: {any: [admin]}}}\n";
    let gate = Gate::start(&Config::with_policy(policy));
    let bearer = format!("Bearer {}", token("alice", &["user"]));
    let facts = [
        ("X-Forwarded-Method", "GET"),
        ("X-Forwarded-Uri", "/admin"),
        ("X-Forwarded-Host", raw::HOST),
        ("X-Forwarded-For", "203.0.113.7"),
        ("Authorization", &*bearer),
    ];
    for (_, name) in OTHERS {
        // Caddy appends the client's query to an address without one: it chooses nothing.
        for end in ["", "?", "?/authn", "?rd=/caddy/validate/authn", "/authz", "/authz?x"] {
            gate.send("GET", &format!("/{name}/validate{end}"), &facts).await.expect(403, "missing_role");
        }
        gate.send("GET", &format!("/{name}/validate/authn?x"), &facts).await.expect(200, "allowed");
        for end in [
            "/",
            "/authn/",
            "/authn/x",
            "//authn",
            "/Authn",
            "%2fauthn",
            "-authn",
            "authn",
            ";/authn",
            "/x",
            "/../validate",
        ] {
            gate.send("GET", &format!("/{name}/validate{end}"), &facts).await.expect(404, "unknown_endpoint");
        }
        for path in [
            format!("/{name}"),
            format!("/{name}/"),
            format!("/{name}/authn"),
            format!("//{name}/validate"),
            format!("/{}/validate", name.to_uppercase()),
        ] {
            gate.send("GET", &path, &facts).await.expect(404, "unknown_endpoint");
        }
    }
}
