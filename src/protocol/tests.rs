use std::collections::HashMap;
use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::clock::UnixTime;
use crate::policy::document::Who;
use crate::policy::identity::Template;
use crate::policy::{Access, IdentityHeaders, Policy, Principal, Refusal, Rule};

fn trusted() -> TrustedProxies {
    TrustedProxies::new(vec!["10.0.0.0/8".parse().expect("network")]).expect("narrow")
}

/// What a client asks, the way one proxy puts it.
struct Wire {
    target: String,
    method: String,
    headers: Vec<(Field, Vec<u8>)>,
}

fn wire(dialect: &str, method: &str, host: &str, uri: &str, client: &str) -> Wire {
    let client_line = (Field::ForwardedFor, client.as_bytes().to_vec());
    match dialect {
        "traefik" | "nginx" | "caddy" => Wire {
            target: if dialect == "traefik" { "/validate".to_owned() } else { format!("/{dialect}/validate") },
            method: "GET".to_owned(),
            headers: vec![
                (Field::ForwardedMethod, method.into()),
                (Field::ForwardedHost, host.into()),
                (Field::ForwardedUri, uri.into()),
                (Field::Host, b"gate:7400".to_vec()),
                client_line,
            ],
        },
        "envoy" => Wire {
            target: format!("/envoy/validate{uri}"),
            method: method.to_owned(),
            headers: vec![(Field::Host, host.into()), client_line],
        },
        other => panic!("the parity test does not know how {other} asks: teach it"),
    }
}

fn facts(dialect: &str, method: &str, host: &str, uri: &str, client: &str) -> Result<String, Reason> {
    let wire = wire(dialect, method, host, uri, client);
    let trusted = trusted();
    let mut fields = Fields::default();
    for (field, line) in &wire.headers {
        fields.push(*field, line);
    }
    let Endpoint { dialect: spoken, step, rule_set, client_target } =
        Endpoint::of(&wire.target).ok_or(Reason::UnknownEndpoint)?;
    assert_eq!((spoken.name(), step), (dialect, Step::Validate));
    let peer = trusted.admit(Some(IpAddr::from([10, 0, 0, 1])))?;
    let check = Check { peer, rule_set, method: &wire.method, target: &wire.target, client_target, fields: &fields };
    ask(spoken, step, &check).map(|ask| format!("{:?}", ask.facts))
}

/// Every dialect makes the same facts of the same request, or refuses it for the same reason.
fn assert_parity(method: &str, host: &str, uri: &str, client: &str) {
    let all: HashMap<&str, Result<String, Reason>> =
        DIALECTS.iter().map(|d| (d.name(), facts(d.name(), method, host, uri, client))).collect();
    let first = all.get("traefik").expect("traefik");
    assert!(all.values().all(|facts| facts == first), "{method} {host} {uri} {client}: {all:?}");
}

#[test]
fn parity_on_the_awkward_ones() {
    for uri in
        ["/", "/a/../b", "//a", "/a%2fb", "/%61", "/a;b", "/a?b#c", "/a b", "/validate/authn", "/envoy/validate/x"]
    {
        assert_parity("GET", "shop.localhost", uri, "192.0.2.1");
    }
    for host in ["A.b.", "a:443", "a:x", "a,b", "u@a", ""] {
        assert_parity("GET", host, "/", "192.0.2.1");
    }
    for client in ["", "x", "192.0.2.1, 10.0.0.2", "192.0.2.1, evil", "2001:db8::1", "[2001:db8::1]:80"] {
        assert_parity("DELETE", "h", "/", client);
    }
}

proptest! {
    #[test]
    fn parity(method in "[A-Z]{1,8}", host in "[a-zA-Z0-9.:-]{0,20}", uri in "/[!-~é]{0,30}", client in "[0-9.]{1,15}") {
        assert_parity(&method, &host, &uri, &client);
    }

    #[test]
    fn no_target_selects_the_half_check_behind_the_whole_ones_prefix(path in "[!-~]{0,40}") {
        let target = format!("/envoy/validate{path}");
        let found = Endpoint::of(&target).map(|found| (found.step, found.client_target));
        prop_assert_eq!(found, path.starts_with('/').then_some((Step::Validate, path.as_str())));
    }
}

#[test]
fn t_c15_the_client_is_the_rightmost_address_that_is_no_proxy_of_ours() {
    let trusted = trusted();
    let client = |line: &str| {
        let mut fields = Fields::default();
        fields.push(Field::ForwardedFor, line.as_bytes());
        let peer = trusted.admit(Some(IpAddr::from([10, 0, 0, 1]))).expect("trusted");
        fields.client(&peer).map(|address| address.to_string())
    };
    assert_eq!(client("192.0.2.1").as_deref(), Ok("192.0.2.1"));
    assert_eq!(client("6.6.6.6, 192.0.2.1, 10.1.1.1,10.2.2.2").as_deref(), Ok("192.0.2.1"));
    assert_eq!(client("garbage, 192.0.2.1").as_deref(), Ok("192.0.2.1"), "what the client wrote is not read");
    assert_eq!(client("10.9.9.9, 10.1.1.1").as_deref(), Ok("10.9.9.9"));
    assert_eq!(client("::ffff:192.0.2.1").as_deref(), Ok("192.0.2.1"));
    assert_eq!(client("192.0.2.1:4711").as_deref(), Ok("192.0.2.1"));
    for bad in ["", "a", "10.0.0.1, evil", "unknown", "_hidden", "192.0.2.1, ", "for=1.2.3.4", "\"1.2.3.4\""] {
        assert_eq!(client(bad), Err(Reason::MalformedClient), "{bad}");
    }
}

#[test]
fn t_c2_networks_of_strangers_are_refused() {
    for wide in
        ["0.0.0.0/0", "::/0", "0.0.0.0/1", "9.0.0.0/8", "192.0.0.0/8", "2000::/7", "2001:db8::/31", "::ffff:0:0/96"]
    {
        assert!(TrustedProxies::new(vec![wide.parse().expect("network")]).is_err(), "{wide}");
    }
    let halves = ["198.18.0.0/16", "198.19.0.0/16"].map(|half| half.parse().expect("network"));
    assert!(TrustedProxies::new(halves.to_vec()).is_err(), "wide together");
    for ours in ["10.0.0.0/8", "fc00::/7", "192.0.2.1/32", "192.0.0.0/16", "2001:db8::/32", "127.0.0.0/8", "::1/128"] {
        assert!(TrustedProxies::new(vec![ours.parse().expect("network")]).is_ok(), "{ours}");
    }
}

fn asker<'a>(fields: &'a Fields<'a>) -> Asker<'a> {
    Asker { fields, facts: None, uri: None, request_id: "id" }
}

/// In every dialect, for every grant: each identity header is set once or removed, never both.
#[test]
fn c2_every_allow_speaks_of_every_identity_header() {
    let file = serde_json::json!({"rules": [{"id": "r", "hosts": ["*"], "paths": ["/**"], "allow": "authenticated"}]});
    let file = serde_json::from_value(file).expect("policy");
    let mut policy = Policy::compile(&file).expect("policy");
    let extra = vec![
        ("x-mail".into(), Template::claim(crate::policy::ClaimPath::new("mail"), None)),
        ("x-dept".into(), Template::claim(crate::policy::ClaimPath::new("dept"), None)),
    ];
    policy.identity = IdentityHeaders::new("x-user-id", "x-user-role", "x-user-tier", "free", extra);
    let claims = serde_json::json!({"mail": "a@b"}).as_object().cloned().expect("object");
    let principals = [
        None,
        Some(Principal::new("i", "alice", ["user"], [], [], Some("pro"), claims.clone())),
        Some(Principal::new("i", "alice", [], [], [], None, claims)),
    ];
    let now = UnixTime::from_secs(0);
    let request = RequestFacts {
        rule_set: None,
        preflight: None,
        method: Method::parse(b"GET").expect("method"),
        host: Host::parse(b"h").expect("host"),
        path: CanonicalPath::parse(b"/").expect("path"),
        client: [192, 0, 2, 1].into(),
    };
    for principal in principals {
        for step in [Step::Validate, Step::Authenticate, Step::Authorize] {
            let who = if principal.is_some() { Who::Authenticated } else { Who::Anonymous };
            let access = Access { who, demands: Vec::new() };
            let rule = std::sync::Arc::new(Rule {
                id: "r".into(),
                access,
                credentials: vec![],
                message: None,
                cors: None,
                limits: vec![],
            });
            let decision =
                rule.grant(step, principal.clone().map(std::sync::Arc::new), &request, now, &policy.identity);
            for dialect in DIALECTS {
                let fields = Fields::default();
                let reply = Reply::new(&decision, &policy, Some(*dialect), &asker(&fields));
                assert_eq!(reply.status, 200);
                let removed: Vec<&str> = reply
                    .headers
                    .iter()
                    .filter(|(name, _)| *name == "x-envoy-auth-headers-to-remove")
                    .flat_map(|(_, value)| value.split(','))
                    .collect();
                for name in policy.identity.names() {
                    let set = reply.headers.iter().filter(|(header, _)| *header == name).count();
                    let gone = removed.iter().filter(|header| **header == name).count();
                    assert_eq!(set + gone, 1, "{name} {step:?} {}: {:?}", dialect.name(), reply.headers);
                }
            }
        }
    }
}

#[test]
fn nginx_hears_200_401_and_403_only_and_the_rest_in_headers() {
    let file = serde_json::json!({"rules": [{"id": "r", "hosts": ["*"], "paths": ["/**"], "allow": "anonymous"}]});
    let policy = Policy::compile(&serde_json::from_value(file).expect("policy")).expect("policy");
    for reason in Reason::ALL {
        let decision = Err((*reason).into());
        let (fields, traefik) = (Fields::default(), &traefik::Traefik);
        let reply = Reply::new(&decision, &policy, Some(&nginx::Nginx), &asker(&fields));
        let plain = Reply::new(&decision, &policy, Some(traefik), &asker(&fields)).status;
        assert_eq!(reply.status, if plain == 401 { 401 } else { 403 }, "{reason:?}");
        let header =
            |name| reply.headers.iter().find(|(header, _)| *header == name).map(|(_, value)| value.to_string());
        assert_eq!(header("x-portcullis-status"), Some(plain.to_string()));
        assert_eq!(header("x-portcullis-reason").as_deref(), Some(reason.code()));
    }
}

/// Envoy's prefixes are told apart by their bytes alone, so that no client's path completes one to another.
#[test]
fn no_endpoint_of_envoys_begins_with_another() {
    let prefixes = ["/envoy/validate", "/envoy/authn", "/envoy/authz"];
    for prefix in prefixes {
        assert!(Endpoint::of(&format!("{prefix}/x")).is_some(), "{prefix}");
        assert!(prefixes.iter().all(|other| *other == prefix || !other.starts_with(prefix)), "{prefix}");
    }
}

/// The rule set that a target names, or that it asks for nothing.
fn rule_set(target: &str) -> Result<Option<&str>, ()> {
    Endpoint::of(target).map(|endpoint| endpoint.rule_set).ok_or(())
}

#[test]
fn a_proxy_names_its_rule_set_where_no_client_can() {
    for address in
        ["/validate", "/nginx/validate", "/caddy/validate", "/envoy/validate/x", "/envoy/validate/policy/a/validate"]
    {
        assert_eq!(rule_set(address), Ok(None), "{address}");
        assert_eq!(rule_set(&format!("/policy/shop{address}")), Ok(Some("shop")), "{address}");
    }
    assert_eq!(rule_set("/validate?policy=shop"), Ok(Some("shop")));
    assert_eq!(rule_set("/validate/authz?x=1&policy=shop"), Ok(Some("shop")));
    assert_eq!(rule_set("/validate?policy=a&policy=b"), Ok(Some("")), "a set that there is not");
    assert_eq!(rule_set("/policy/a/validate?policy=b"), Err(()));
    for target in ["/policy/a", "/policy/a/policy/b/validate", "/policy//validate?policy=a"] {
        assert_eq!(rule_set(target), Err(()), "{target}");
    }
    // Of the others the query may be the client's: Caddy copies it where the operator writes none.
    for target in ["/caddy/validate?policy=lax", "/nginx/validate?policy=lax", "/envoy/validate/x?policy=lax"] {
        assert_eq!(rule_set(target), Ok(None), "{target}");
    }
}

#[test]
fn a_rule_set_that_the_client_may_have_named_is_refused() {
    let trusted = trusted();
    let ask = |target: &str, uri: &str| {
        let lines = [
            (Field::ForwardedMethod, "GET"),
            (Field::ForwardedHost, "shop.test"),
            (Field::ForwardedUri, uri),
            (Field::ForwardedFor, "192.0.2.1"),
        ];
        let mut fields = Fields::default();
        for (field, line) in lines {
            fields.push(field, line.as_bytes());
        }
        let peer = trusted.admit(Some(IpAddr::from([10, 0, 0, 1]))).expect("trusted");
        let endpoint = Endpoint::of(target).expect("endpoint");
        let Endpoint { dialect, step, rule_set, client_target } = endpoint;
        let check = Check { peer, rule_set, method: "GET", target, client_target, fields: &fields };
        super::ask(dialect, step, &check).map(|ask| ask.facts.rule_set.map(str::to_owned))
    };
    assert_eq!(ask("/validate?policy=shop", "/x?policy=lax"), Ok(Some("shop".to_owned())));
    assert_eq!(ask("/validate?policy=shop", "/x"), Ok(Some("shop".to_owned())));
    assert_eq!(ask("/validate?policy=lax", "/x?policy=lax"), Err(Reason::ConflictingUri));
    assert_eq!(ask("/validate?a=1&policy=lax", "/x?a=1&policy=lax"), Err(Reason::ConflictingUri));
}

/// A refusal as somebody gets it who asks with these headers: status, headers and body.
fn refused(
    policy: serde_json::Value,
    reason: Reason,
    lines: &[(Field, &str)],
) -> (u16, HashMap<String, String>, String) {
    let policy = Policy::compile(&serde_json::from_value(policy).expect("shape")).expect("policy");
    let mut fields = Fields::default();
    for (field, line) in lines {
        fields.push(*field, line.as_bytes());
    }
    let request = RequestFacts {
        rule_set: None,
        preflight: None,
        method: Method::parse(b"GET").expect("method"),
        host: Host::parse(b"shop.test").expect("host"),
        path: CanonicalPath::parse(b"/a").expect("path"),
        client: [192, 0, 2, 1].into(),
    };
    let rule = policy.route(&request).expect("rule");
    let decision = Err(Refusal::under(rule, reason));
    let asker = Asker { fields: &fields, facts: Some(&request), uri: Some(b"/a?b=c"), request_id: "id" };
    let reply = Reply::new(&decision, &policy, Some(&traefik::Traefik), &asker);
    let headers = reply.headers.iter().map(|(name, value)| ((*name).to_owned(), value.to_string())).collect();
    (reply.status, headers, reply.body)
}

fn policy_with(refusals: serde_json::Value, message: &str) -> serde_json::Value {
    serde_json::json!({"refusals": refusals, "rules": [
        {"id": "r", "hosts": ["*"], "paths": ["/**"], "allow": "authenticated", "message": message}
    ]})
}

#[test]
fn people_get_a_page_and_programs_a_problem() {
    let policy = || policy_with(serde_json::json!({}), "ask <b>\"Ann\"</b> & wait");
    let is_page =
        |lines: &[(Field, &str)]| refused(policy(), Reason::MissingRole, lines).1.contains_key("content-type");
    assert!(is_page(&[(Field::SecFetchMode, "navigate")]));
    assert!(is_page(&[(Field::Accept, "text/html,application/xhtml+xml,*/*;q=0.8")]));
    for program in [
        &[][..],
        &[(Field::Accept, "*/*")],
        &[(Field::Accept, "application/json, text/html")],
        &[(Field::SecFetchMode, "cors"), (Field::Accept, "text/html")],
        &[(Field::SecFetchMode, "navigate"), (Field::SecFetchMode, "navigate")],
    ] {
        assert!(!is_page(program), "{program:?}");
    }
    let (status, headers, page) = refused(policy(), Reason::MissingRole, &[(Field::SecFetchMode, "navigate")]);
    assert_eq!((status, &*headers["content-type"]), (403, "text/html; charset=utf-8"));
    assert!(page.contains("ask &lt;b&gt;&quot;Ann&quot;&lt;/b&gt; &amp; wait") && !page.contains("<b>"), "{page}");
    let (status, _, problem) = refused(policy(), Reason::MissingRole, &[]);
    let problem: serde_json::Value = serde_json::from_str(&problem).expect("json");
    assert_eq!((status, &problem["detail"]), (403, &"ask <b>\"Ann\"</b> & wait".into()));
    let plain = policy_with(serde_json::json!({"people": "problem"}), "x");
    assert!(refused(plain, Reason::MissingRole, &[(Field::SecFetchMode, "navigate")]).2.starts_with('{'));
}

#[test]
fn people_without_a_credential_are_sent_to_sign_in_and_nobody_else() {
    let policy = || policy_with(serde_json::json!({"sign_in": "https://login.test/?u={url}"}), "x");
    let navigation =
        [(Field::SecFetchMode, "navigate"), (Field::ForwardedProto, "https"), (Field::ForwardedHost, "shop.test:8443")];
    for reason in [Reason::NoCredential, Reason::Expired, Reason::InsufficientUserAuthentication] {
        let (status, headers, body) = refused(policy(), reason, &navigation);
        let to = "https://login.test/?u=https%3A%2F%2Fshop.test%3A8443%2Fa%3Fb%3Dc";
        assert_eq!((status, headers["location"].as_str(), body.as_str()), (302, to, ""), "{reason:?}");
    }
    for reason in [Reason::MissingRole, Reason::NoRule, Reason::KeysUnavailable, Reason::ConflictingCredentials] {
        assert!(!refused(policy(), reason, &navigation).1.contains_key("location"), "{reason:?}");
    }
    assert_eq!(refused(policy(), Reason::NoCredential, &[]).0, 401);
}

#[test]
fn a_step_up_says_what_the_next_sign_in_must_be_like() {
    let allow = serde_json::json!({"fresh": {"max_age": "5m", "acr": ["gold", "silver"]}});
    let policy = serde_json::json!({"rules": [{"id": "r", "hosts": ["*"], "paths": ["/**"], "allow": allow}]});
    let (status, headers, _) = refused(policy, Reason::InsufficientUserAuthentication, &[]);
    let challenge = "Bearer realm=\"portcullis\", error=\"insufficient_user_authentication\", acr_values=\"gold silver\", max_age=\"300\"";
    assert_eq!((status, headers["www-authenticate"].as_str()), (401, challenge));
}
