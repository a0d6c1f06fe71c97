//! How services of this kind were broken by paths. The numbers are those of the project's list of threats; T-A10 and T-A15 are
//! about gRPC.

use super::probe::{BOTH, BY_THE_PARSER, Probe, STEPS, together};
use crate::support::gate::{Config, Gate, token};

/// Open and closed doors side by side: whoever confuses them shows it.
const POLICY: &str = "\
rules:
  - {id: public, hosts: [shop.localhost], paths: ['/public/**'], allow: anonymous}
  - {id: admin, hosts: [shop.localhost], paths: ['/admin/**'], allow: {roles: {any: [admin]}}}
  - {id: user, hosts: [shop.localhost], paths: ['/user/**'], allow: authenticated}
  - {id: user-admin, hosts: [shop.localhost], paths: ['/user/admin/**'], allow: {roles: {any: [admin]}}}
  - {id: status, hosts: [shop.localhost], paths: ['/api/{service}/status'], allow: anonymous}
  - {id: api, hosts: [shop.localhost], paths: ['/api/**'], allow: {roles: {any: [admin]}}}
  - {id: bar, hosts: [shop.localhost], paths: ['/foo/{name}/bar'], allow: anonymous}
  - {id: foo, hosts: [shop.localhost], paths: ['/foo/**'], allow: {roles: {any: [admin]}}}
";

fn gate() -> Gate {
    Gate::start(&Config::with_policy(POLICY))
}

/// Asks for each path in both dialects and all steps, with and without a token, and wants this refusal.
async fn refused(gate: &Gate, paths: &[&str], status: u16, reason: &str) {
    let user = token("alice", &["user"]);
    let user = &user;
    let questions =
        paths.iter().flat_map(|path| BOTH.iter().flat_map(move |dialect| STEPS.map(|step| (path, *dialect, step))));
    together(questions.map(async |(path, dialect, step)| {
        let probe = Probe::new(dialect).step(step).uri(path);
        probe.ask(gate).await.expect(status, reason);
        probe.bearer(user).ask(gate).await.expect(status, reason);
    }))
    .await;
}

/// Asks for a path in both dialects without a token, and wants the answer of this rule.
async fn judged_by(gate: &Gate, path: &str, rule: &str, status: u16, reason: &str) {
    for dialect in BOTH {
        let answer = Probe::new(dialect).uri(path).ask(gate).await;
        answer.expect(status, reason);
        assert_eq!(answer.rule(), rule, "{answer:#?}");
    }
}

#[tokio::test]
async fn t_a1_dot_segments_do_not_leave_the_open_part() {
    let gate = gate();
    judged_by(&gate, "/public/x", "public", 200, "allowed").await;
    judged_by(&gate, "/admin/secrets", "admin", 401, "no_credential").await;
    let paths = [
        "/public/../admin/secrets",
        "/public/./../admin",
        "/public/x/../../admin",
        "/public/..",
        "/../admin",
        "/public/.",
    ];
    refused(&gate, &paths, 400, "ambiguous_path").await;
}

#[tokio::test]
async fn t_a2_encoded_dot_segments_neither() {
    let paths = [
        "/public/../user/x",
        "/user/%2e%2e/admin",
        "/user/.%2E/admin",
        "/user/%2e%2e%2fadmin",
        "/user/%2E./admin",
        "/public/%2e%2e/admin",
        "/public/%2e",
        "/public/%2e%2e",
        "/public/.%2e/%2e./admin",
        "/public/%252e%252e/admin",
    ];
    refused(&gate(), &paths, 400, "ambiguous_path").await;
}

#[tokio::test]
async fn t_a3_the_letter_case_of_an_escape_makes_no_difference() {
    let paths = [
        "/a%2fb",
        "/a%2Fb",
        "/public%2fx",
        "/public%2Fx",
        "/public/a%5cb",
        "/public/a%5Cb",
        "/public/%2e",
        "/public/%2E",
    ];
    let gate = gate();
    refused(&gate, &paths, 400, "ambiguous_path").await;
    for path in ["/%61dmin", "/%61%64%6d%69%6e", "/%61%64%6D%69%6E/x"] {
        judged_by(&gate, path, "admin", 401, "no_credential").await;
    }
}

#[tokio::test]
async fn t_a4_encoded_and_odd_separators_are_refused() {
    let paths = [
        "/public%2f..%2fadmin",
        "/public%5c..%5cadmin",
        "/public\\..\\admin",
        "/public/..\\admin",
        "/public\\admin",
        "\\public/x",
        "/public%2fadmin",
        "/%2fadmin",
        "/%5cadmin",
    ];
    let gate = gate();
    let (odd, paths): (Vec<&str>, Vec<&str>) = paths.iter().partition(|path| path.starts_with('\\'));
    refused(&gate, &paths, 400, "ambiguous_path").await;
    // Without a slash at its beginning it is no target at all; behind Envoy's prefix it would be no endpoint.
    Probe::traefik().uri(odd[0]).ask(&gate).await.expect(400, "malformed_uri");
    Probe::envoy().uri(odd[0]).ask(&gate).await.expect(404, "unknown_endpoint");
}

#[tokio::test]
async fn t_a5_doubled_slashes_are_no_authority() {
    let paths = [
        "//admin/secret",
        "///admin",
        "/public//../admin",
        "//public/x",
        "/public//x",
        "//",
        "/public//",
        "//evil.example/public/x",
        "/public/x//",
        "//@admin/x",
    ];
    refused(&gate(), &paths, 400, "ambiguous_path").await;
}

#[tokio::test]
async fn t_a6_path_parameters_are_refused() {
    let paths = [
        "/public/..;/admin",
        "/public/..;x=y/admin",
        "/admin;x=y/action;foo=bar",
        "/%2e%2e;/admin",
        "/public/.;/x",
        "/admin;",
        "/public;/x",
        "/public/x;jsessionid=1",
        "/public/%3b/x",
        "/public/..%3b/admin",
    ];
    let gate = gate();
    refused(&gate, &paths, 400, "ambiguous_path").await;
    judged_by(&gate, "/public/x?a;b=c", "public", 200, "allowed").await;
}

#[tokio::test]
async fn t_a7_bytes_that_are_no_utf_8_are_refused() {
    let gate = gate();
    let paths = [
        "/public/%ff",
        "/admin%ff",
        "/public/%c0%ae%c0%ae%c0%afadmin",
        "/%c0%afadmin",
        "/public/%ed%a0%80",
        "/public/%e9",
        "/%ff/../admin",
    ];
    refused(&gate, &paths, 400, "malformed_uri").await;
    for path in
        [&b"/public/\xff"[..], b"/admin\xff", b"/public/\xc3\xa9", b"/public/\xc0\xae\xc0\xae/admin", b"/public/x?\xff"]
    {
        Probe::traefik().uri(path).ask(&gate).await.expect(400, "malformed_uri");
        Probe::envoy().uri(path).ask(&gate).await.expect(400, BY_THE_PARSER);
    }
    // In another header such a byte is nobody's matter.
    for dialect in BOTH {
        Probe::new(dialect).uri("/public/x").header("X-Note", b"\xff\xfe").ask(&gate).await.expect(200, "allowed");
        Probe::new(dialect).uri("/user/x").header("X-Note", b"\xff\xfe").ask(&gate).await.expect(401, "no_credential");
        Probe::new(dialect).host(b"shop\xff.localhost").ask(&gate).await.expect(400, "malformed_host");
        Probe::new(dialect).instead("X-Forwarded-For", b"\xff").ask(&gate).await.expect(400, "malformed_client");
    }
    judged_by(&gate, "/public/caf%C3%A9", "public", 200, "allowed").await;
}

#[tokio::test]
async fn t_a8_a_fragment_is_no_part_of_a_target() {
    let gate = gate();
    judged_by(&gate, "/foo/x/bar", "bar", 200, "allowed").await;
    judged_by(&gate, "/foo/secret", "foo", 401, "no_credential").await;
    refused(&gate, &["/foo/secret%23/bar", "/public/x%23"], 400, "ambiguous_path").await;
    for path in ["/foo/secret#/bar", "/public/x#", "/public/x#/../admin", "/public/x?a#b", "/#"] {
        Probe::traefik().uri(path).ask(&gate).await.expect(400, "malformed_uri");
    }
}

/// The HTTP parser cuts `#` and what follows off the check request's own target, unseen by us: Envoy itself refuses such requests
/// (`proxies::paths`). What is left is judged like any path, so that a fragment opens nothing that its path does not.
#[tokio::test]
async fn t_a8_a_fragment_in_envoys_own_target_opens_nothing() {
    let gate = gate();
    for (path, status, reason) in [
        ("/foo/secret#/bar", 401, "no_credential"),
        ("/public/x#/../admin", 200, "allowed"),
        ("/admin#/../public/x", 401, "no_credential"),
    ] {
        Probe::envoy().uri(path).ask(&gate).await.expect(status, reason);
    }
}

#[tokio::test]
async fn t_a9_the_query_is_no_part_of_the_path() {
    let gate = gate();
    judged_by(&gate, "/api/private/status", "status", 200, "allowed").await;
    judged_by(&gate, "/api/private/status?x", "status", 200, "allowed").await;
    for path in [
        "/api/private/x?path=/status",
        "/api/private/x?/status",
        "/api/x?=/api/private/status",
        "/api/private/x?y?/status",
    ] {
        judged_by(&gate, path, "api", 401, "no_credential").await;
    }
    refused(&gate, &["/api/private/x%3f/status", "/api/private%3f/status"], 400, "ambiguous_path").await;
    judged_by(&gate, "/admin?/public/x", "admin", 401, "no_credential").await;
}

#[tokio::test]
async fn t_a11_what_cannot_be_parsed_is_refused() {
    let gate = gate();
    for value in [
        "https://h/%zz",
        "http://[::1",
        "",
        "https://shop.localhost/public/x",
        "/public/y",
        "/public/x ",
        "public/x",
        "\u{e9}",
        "a b",
    ] {
        for dialect in BOTH {
            for (path, sure) in [("/public/x", false), ("/admin/x", true)] {
                let probe = Probe::new(dialect).uri(path).header("X-Original-URL", value);
                // The parser trims what stands around a value, so that this one is the same.
                let same = value.trim() == path;
                let answer = probe.ask(&gate).await;
                if same && !sure {
                    answer.expect(200, "allowed")
                } else {
                    answer.expect(400, "conflicting_uri")
                };
            }
        }
    }
    for uri in ["https://h/%zz", "http://[::1", "", "/public/x y", "http://shop.localhost/public/x", "://", "?"] {
        Probe::traefik().uri(uri).ask(&gate).await.expect(400, "malformed_uri");
    }
    for uri in ["/public/%zz", "/public/%", "/public/%2", "/public/%-1", "/public/%u002f"] {
        refused(&gate, &[uri], 400, "malformed_uri").await;
    }
    for control in [0_u8, 1, 7, 8, 10, 13, 27, 127] {
        let uri = [b"/public/a", &[control][..], b"b"].concat();
        for dialect in BOTH {
            let answer = Probe::new(dialect).uri(&uri).ask(&gate).await;
            assert_eq!((answer.status(), answer.reason()), (400, BY_THE_PARSER), "{control} {answer:#?}");
        }
    }
    Probe::traefik().uri("/public/a\tb").ask(&gate).await.expect(400, "malformed_uri");
    Probe::envoy().uri("/public/a\tb").ask(&gate).await.expect(400, BY_THE_PARSER);
}

#[tokio::test]
async fn t_a12_encodings_that_routers_and_middlewares_see_differently() {
    let gate = gate();
    let mut paths = Vec::new();
    for escape in ["%2F", "%5C", "%00", "%3B", "%3F", "%23", "%25", "%2E%2E", ".."] {
        paths.extend([format!("/public/{escape}/x"), format!("/public/{escape}"), format!("/{escape}/admin")]);
        if escape != ".." && escape != "%2E%2E" {
            paths.extend([format!("/public{escape}x"), format!("/public/x{escape}")]);
        }
    }
    refused(&gate, &paths.iter().map(String::as_str).collect::<Vec<_>>(), 400, "ambiguous_path").await;
}

#[tokio::test]
async fn t_a13_requests_without_a_path_are_refused() {
    let gate = gate();
    for uri in ["*", "shop.localhost:443", "http://shop.localhost/public/x", "https://shop.localhost", ""] {
        Probe::traefik().uri(uri).ask(&gate).await.expect(400, "malformed_uri");
    }
    for method in ["CONNECT", "PRI *"] {
        Probe::traefik().method(method).uri("/public/x").ask(&gate).await.expect(400, "malformed_method");
    }
    let tail = "Host: shop.localhost\r\nX-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Uri: /public/x\r\nX-Forwarded-Method: GET\r\nX-Forwarded-Host: shop.localhost\r\nConnection: close\r\n\r\n";
    for (line, status, reason) in [
        ("CONNECT shop.localhost:443", 400, "malformed_uri"),
        ("CONNECT /envoy/validate/public/x", 400, "malformed_uri"),
        ("GET http://shop.localhost/envoy/validate/public/x", 400, "malformed_uri"),
        ("GET http://shop.localhost/validate", 400, "malformed_uri"),
        ("GET https://u@shop.localhost/validate", 400, "malformed_uri"),
        ("OPTIONS *", 404, "unknown_endpoint"),
        ("GET *", 404, "unknown_endpoint"),
        ("OPTIONS /envoy/validate*", 404, "unknown_endpoint"),
        ("GET envoy/validate/public/x", 400, BY_THE_PARSER),
        ("GET ", 400, BY_THE_PARSER),
    ] {
        gate.exchange(format!("{line} HTTP/1.1\r\n{tail}").as_bytes()).await.expect(status, reason);
    }
}

#[tokio::test]
async fn t_a14_a_policy_that_folds_case_folds_every_spelling() {
    let folding = Gate::start(&Config::with_policy(&format!("case_insensitive_paths: true\n{POLICY}")));
    for path in ["/ADMIN", "/Admin/x", "/%41dmin", "/%41DMIN/x", "/aDMI%4e", "/admin"] {
        judged_by(&folding, path, "admin", 401, "no_credential").await;
    }
    for path in ["/USER/ADMIN", "/user/%41dmin/x"] {
        judged_by(&folding, path, "user-admin", 401, "no_credential").await;
    }
    judged_by(&folding, "/PUBLIC/x", "public", 200, "allowed").await;
    // Without folding such a path is another one, and a path that nobody named is refused.
    let exact = gate();
    for path in ["/ADMIN", "/%41dmin", "/PUBLIC/x"] {
        judged_by(&exact, path, "", 403, "no_rule").await;
    }
}

#[tokio::test]
async fn t_a14_folding_knows_every_letter_that_some_upstream_takes_for_another() {
    // Java's `equalsIgnoreCase`, for one, compares capitals: there the dotless i, the long s and the sign of the Kelvin are I, S, K.
    let policy = "\
case_insensitive_paths: true
rules:
  - {id: strict, hosts: [shop.localhost], paths: ['/admin/**', '/users/**', '/keys/**'], allow: {roles: {any: [admin]}}}
  - {id: lax, hosts: [shop.localhost], paths: ['/**'], allow: anonymous}
";
    let gate = Gate::start(&Config::with_policy(policy));
    judged_by(&gate, "/administration", "lax", 200, "allowed").await;
    for path in ["/ADMIN", "/USERS/x", "/adm%C4%B1n"] {
        judged_by(&gate, path, "strict", 401, "no_credential").await;
    }
    // Those that Unicode itself calls compatible are no path at all.
    refused(&gate, &["/%E2%84%AAeys", "/u%C5%BFers/x"], 400, "ambiguous_path").await;
}
