//! T-E10: a restriction that is silently not enforced (CVE-2021-21411). Each restriction of the policy and of the settings is taken
//! away or widened, and some request that was refused must then be allowed; and no key of either file is left out of this.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::probe::{DIALECTS, Dialect, Probe};
use crate::support::gate::{Config, Gate, ISSUER, KEY, claims, now};
use crate::support::signer::Signer;

/// One rule with every restriction that a rule can have, and its twin with the other word of each pair.
fn policy() -> Value {
    json!({"rules": [
        {
            "id": "vault", "hosts": ["shop.localhost"], "paths": ["/vault/{id}"], "methods": ["GET"], "credentials": ["bearer"],
            "allow": {
                "roles": {"any": ["keeper", "owner"]},
                "scopes": {"all": ["read", "write"]},
                "claims": [
                    {"claim": "tenant", "equals": "acme"},
                    {"claim": ["org", "level"], "in": [2, 3]},
                    {"claim": "groups", "contains": "staff"},
                ],
            },
        },
        {
            "id": "safe", "hosts": ["shop.localhost"], "paths": ["/safe"], "methods": ["GET"], "credentials": ["bearer"],
            "allow": {"roles": {"all": ["keeper", "night"]}, "scopes": {"any": ["read", "audit"]}},
        },
        {
            "id": "cell", "hosts": ["shop.localhost"], "paths": ["/cell"], "methods": ["GET"], "credentials": ["bearer"],
            "allow": {
                "groups": {"any": ["staff"]},
                "claims": [{"claim": "suspended", "exists": false}, {"claim": "dept", "matches": "fin-[a-z]+"}],
                "email": {"domains": ["example.com"]},
                "fresh": {"max_age": "1h", "acr": ["gold"], "amr": {"all": ["otp"]}},
                "all": [{"claims": [{"claim": "floor", "in": [1]}]}],
                "any": [{"claims": [{"claim": "floor", "in": [7]}]}, {"claims": [{"claim": "wing", "equals": "east"}]}],
                "not": {"roles": {"any": ["prisoner"]}},
                "when": "claims.badge == 7",
            },
        },
        outside("networks", json!({"who": "authenticated", "networks": ["192.0.2.0/24"]})),
        outside("from", json!({"from": "2999-01-01T00:00:00Z"})),
        outside("until", json!({"until": "2000-01-01T00:00:00Z"})),
        outside("times", json!({"times": [another_hour()]})),
        outside("set", json!({"roles": {"any": ["keeper"]}})),
        outside("cors", json!({"roles": {"any": ["keeper"]}})),
        outside("who", json!({"who": "authenticated", "networks": ["203.0.113.0/24"]})),
    ]})
}

/// A rule of its own path that refuses the good token for one reason only.
fn outside(key: &str, allow: Value) -> Value {
    let mut rule = json!({"id": key, "hosts": ["shop.localhost"], "paths": [format!("/{key}")], "methods": ["GET"], "allow": allow});
    if key == "set" {
        rule["set"] = "another".into();
    }
    rule
}

/// An hour of the day that is not now and will not be while the test runs.
fn another_hour() -> Value {
    let hour = |later: i64| format!("{:02}:00", (now() / 3600 + later) % 24);
    json!({"from": hour(11), "to": hour(12)})
}

/// What the policy has beyond `vault` and `safe`: where it stands, and what takes it away.
const NEWER: [(&str, &str, usize, &str); 18] = [
    ("when", "/cell", 2, "allow/when"),
    ("groups", "/cell", 2, "allow/groups"),
    ("exists", "/cell", 2, "allow/claims/0"),
    ("matches", "/cell", 2, "allow/claims/1"),
    ("email", "/cell", 2, "allow/email"),
    ("domains", "/cell", 2, "allow/email/domains/-"),
    ("fresh", "/cell", 2, "allow/fresh"),
    ("max_age", "/cell", 2, "allow/fresh/max_age"),
    ("acr", "/cell", 2, "allow/fresh/acr/-"),
    ("amr", "/cell", 2, "allow/fresh/amr"),
    ("all", "/cell", 2, "allow/all"),
    ("any", "/cell", 2, "allow/any"),
    ("not", "/cell", 2, "allow/not"),
    ("networks", "/networks", 3, "allow/networks"),
    ("from", "/from", 4, "allow"),
    ("until", "/until", 5, "allow"),
    ("times", "/times", 6, "allow"),
    ("set", "/set", 7, "set"),
];

/// Claims that both rules let in.
fn good() -> Value {
    claims(json!({
        "roles": ["keeper", "night"], "scope": "read write", "tenant": "acme", "org": {"level": 2}, "groups": ["staff", "x"],
        "dept": "fin-east", "email": "ann@example.com", "email_verified": true, "auth_time": now() - 600, "acr": "gold",
        "amr": ["otp"], "floor": 1, "wing": "east", "badge": 7,
    }))
}

/// A request that differs from a good one in one thing.
struct Request {
    what: &'static str,
    probe: Box<dyn Fn(Dialect) -> Probe>,
}

/// All requests that the policy refuses, each for one reason.
fn refused() -> Vec<Request> {
    let mut requests: Vec<Request> = Vec::new();
    let mut add = |what, probe: Box<dyn Fn(Dialect) -> Probe>| requests.push(Request { what, probe });
    let signed = |changes: Value| {
        let mut claims = good();
        for (name, value) in changes.as_object().expect("changes") {
            claims[name] = value.clone();
        }
        KEY.token(&claims)
    };
    let at = |path: &'static str| move |dialect| Probe::new(dialect).uri(path);
    let token = signed(json!({}));
    for (what, path, changes) in [
        ("neither role", "/vault/7", json!({"roles": ["night"]})),
        ("a guest", "/vault/7", json!({"roles": ["guest"]})),
        ("no scope read", "/vault/7", json!({"scope": "write"})),
        ("no scope write", "/vault/7", json!({"scope": "read"})),
        ("no scope", "/vault/7", json!({"scope": ""})),
        ("another tenant", "/vault/7", json!({"tenant": "umbrella"})),
        ("no tenant", "/vault/7", json!({"tenant": null})),
        ("another level", "/vault/7", json!({"org": {"level": 4}})),
        ("a level elsewhere", "/vault/7", json!({"org": {}, "level": 2})),
        ("other groups", "/vault/7", json!({"groups": ["x"]})),
        ("a group that is no list", "/vault/7", json!({"groups": "staff"})),
        ("only keeper", "/safe", json!({"roles": ["keeper"]})),
        ("only night", "/safe", json!({"roles": ["night"]})),
        ("a guest at the safe", "/safe", json!({"roles": ["guest", "keeper"]})),
        ("other scopes at the safe", "/safe", json!({"scope": "write"})),
        ("no scope at the safe", "/safe", json!({"scope": null})),
        ("other groups in the cell", "/cell", json!({"groups": ["x"]})),
        ("suspended", "/cell", json!({"suspended": true})),
        ("another department", "/cell", json!({"dept": "xfin-east"})),
        ("another domain", "/cell", json!({"email": "ann@example.org"})),
        ("an address that nobody verified", "/cell", json!({"email_verified": false})),
        ("an old sign-in", "/cell", json!({"auth_time": now() - 7200})),
        ("a weak sign-in", "/cell", json!({"acr": "silver"})),
        ("one factor", "/cell", json!({"amr": ["pwd"]})),
        ("another floor", "/cell", json!({"floor": 2})),
        ("another wing", "/cell", json!({"wing": "west"})),
        ("another badge", "/cell", json!({"badge": 8})),
        ("a prisoner", "/cell", json!({"roles": ["prisoner"]})),
        ("another network", "/networks", json!({})),
        ("too early", "/from", json!({})),
        ("too late", "/until", json!({})),
        ("another hour", "/times", json!({})),
        ("another rule set", "/set", json!({})),
    ] {
        let token = signed(changes);
        add(what, Box::new(move |dialect| at(path)(dialect).bearer(&token)));
    }
    add("a stranger of the network", Box::new(at("/who")));
    let preflight = at("/cors");
    let preflight = move |dialect| {
        let asked = preflight(dialect).method("OPTIONS").header("Origin", "https://app.localhost");
        asked.header("Access-Control-Request-Method", "GET")
    };
    add("a preflight", Box::new(preflight));
    for path in ["/vault/7", "/safe"] {
        let bearer = |token: &String| {
            let token = token.clone();
            move |dialect| at(path)(dialect).bearer(&token)
        };
        let (post, host, cookie, slash) = (bearer(&token), bearer(&token), token.clone(), bearer(&token));
        add("another method", Box::new(move |dialect| post(dialect).method("POST")));
        add("another host", Box::new(move |dialect| host(dialect).host("other.localhost")));
        add("a host below", Box::new(move |dialect| slash(dialect).host("a.shop.localhost")));
        add("a cookie", Box::new(move |dialect| at(path)(dialect).cookie(&cookie)));
        add("nobody", Box::new(at(path)));
    }
    for path in ["/vault/7/x", "/VAULT/7", "/safe/x", "/SAFE", "/else"] {
        let token = token.clone();
        add("another path", Box::new(move |dialect| at(path)(dialect).bearer(&token)));
    }
    requests
}

/// The policy with one restriction less: which one, and the policy.
fn mutants() -> Vec<(String, Value)> {
    let mut mutants = Vec::new();
    let full = policy();
    let mut with = |key: &str, pointer: String, value: Option<Value>| {
        let mut mutant = full.clone();
        let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
        match (mutant.pointer_mut(parent).expect("it is there"), value) {
            (Value::Object(object), Some(value)) => drop(object.insert(name.to_owned(), value)),
            (Value::Object(object), None) => drop(object.remove(name).expect("it is there")),
            (Value::Array(list), None) => drop(list.remove(name.parse().expect("a place"))),
            (Value::Array(list), Some(value)) => list.push(value),
            _ => panic!("no such place: {pointer}"),
        }
        mutants.push((format!("{key}: {pointer}"), mutant));
    };
    with("case_insensitive_paths", "/case_insensitive_paths".into(), Some(json!(true)));
    for (key, _, place, what) in NEWER {
        let wider = match key {
            "domains" => Some(json!("example.org")),
            "acr" => Some(json!("silver")),
            "from" | "until" | "times" | "networks" if what == "allow" => Some(json!("authenticated")),
            _ => None,
        };
        with(key, format!("/rules/{place}/{what}"), wider);
    }
    with("who", "/rules/9/allow/who".into(), Some(json!("optional")));
    let cors = json!({"origins": ["https://app.localhost"]});
    with("cors", "/rules/8/cors".into(), Some(cors));
    for (place, rule) in full["rules"].as_array().expect("rules").iter().enumerate().take(2) {
        let at = |what: &str| format!("/rules/{place}/{what}");
        with("hosts", at("hosts"), Some(json!(["shop.localhost", "*"])));
        with("hosts", at("hosts/-"), Some(json!("other.localhost")));
        with("hosts", at("hosts/-"), Some(json!("*.shop.localhost")));
        with("paths", at("paths"), Some(json!(["/**"])));
        let below = format!("{}/**", rule["paths"][0].as_str().expect("a path"));
        with("paths", at("paths/-"), Some(json!(below)));
        with("methods", at("methods"), None);
        with("methods", at("methods/-"), Some(json!("POST")));
        with("credentials", at("credentials"), None);
        with("credentials", at("credentials/-"), Some(json!("cookie")));
        with("allow", at("allow"), Some(json!("authenticated")));
        // An anonymous rule must not name credentials.
        with("scopes", at("allow/scopes"), None);
        with("roles", at("allow/roles"), None);
        for demand in ["roles", "scopes"] {
            let (word, names) = rule["allow"][demand].as_object().expect("one of two").iter().next().expect("a word");
            let list = at(&format!("allow/{demand}/{word}"));
            if word == "all" {
                for element in 0..names.as_array().expect("a list").len() {
                    with("all", format!("{list}/{element}"), None);
                }
                with("all", at(&format!("allow/{demand}")), Some(json!({"any": names})));
            } else {
                with("any", format!("{list}/-"), Some(json!(if demand == "roles" { "guest" } else { "write" })));
            }
        }
        for (number, claim) in rule["allow"]["claims"].as_array().into_iter().flatten().enumerate() {
            let claims = at("allow/claims");
            with("claims", format!("{claims}/{number}"), None);
            for (test, wider) in [("equals", json!("umbrella")), ("in", json!([2, 3, 4])), ("contains", json!("x"))] {
                if claim.get(test).is_some() {
                    with(test, format!("{claims}/{number}/{test}"), Some(wider));
                }
            }
            if claim["claim"].is_array() {
                with("claim", format!("{claims}/{number}/claim"), Some(json!("level")));
            }
        }
    }
    mutants
}

/// Whether some dialect's answer is 200: all must agree.
async fn allows(gate: &Gate, probe: &dyn Fn(Dialect) -> Probe) -> bool {
    let answers = futures_util::future::join_all(
        DIALECTS.map(|dialect| async move { probe(dialect).ask(gate).await.status() == 200 }),
    );
    let answers = answers.await;
    assert!(answers.iter().all(|answer| *answer == answers[0]), "the dialects disagree: {:?}", probe(Dialect::Traefik));
    answers[0]
}

#[tokio::test]
async fn t_e10_each_restriction_of_a_rule_keeps_somebody_out() {
    let requests = refused();
    let full = Gate::start(&Config::with_policy(&policy().to_string()));
    let token = KEY.token(&good());
    for path in ["/vault/7", "/safe", "/cell", "/cors", "/who"] {
        assert!(
            allows(&full, &|dialect| Probe::new(dialect).uri(path).bearer(&token)).await,
            "{path}: nothing is shown by refusals alone"
        );
    }
    for request in &requests {
        assert!(!allows(&full, &request.probe).await, "allowed: {}", request.what);
    }
    let mut useful = BTreeSet::new();
    for (what, mutant) in mutants() {
        let gate = Gate::start(&Config::with_policy(&mutant.to_string()));
        let answers =
            futures_util::future::join_all(requests.iter().map(|request| allows(&gate, &request.probe))).await;
        let let_in: Vec<_> =
            requests.iter().zip(answers).filter(|(_, allowed)| *allowed).map(|(r, _)| r.what).collect();
        assert!(!let_in.is_empty(), "without it nobody more is let in, so nothing enforces it: {what}");
        useful.extend(let_in);
    }
    // And without the demand of a principal, anybody.
    let open = policy().to_string().replace("\"credentials\":[\"bearer\"],", "");
    let mut open: Value = serde_json::from_str(&open).expect("JSON");
    for rule in open["rules"].as_array_mut().expect("rules") {
        rule["allow"] = json!("anonymous");
        rule.as_object_mut().expect("a rule").remove("credentials");
    }
    let gate = Gate::start(&Config::with_policy(&open.to_string()));
    assert!(allows(&gate, &|dialect| Probe::new(dialect).uri("/vault/7")).await);
    // Each request was refused by a restriction that some mutant lacked, but for those that only a lack of several lets in.
    let all: BTreeSet<&str> = requests.iter().map(|request| request.what).collect();
    let left: Vec<_> = all.difference(&useful).copied().collect();
    assert_eq!(left, ["nobody"], "never let in");
}

/// A restriction of the settings: its key, what takes it away, and a request that it refuses.
struct Restriction {
    key: &'static str,
    from: &'static str,
    to: String,
    reason: &'static str,
    probe: Box<dyn Fn(Dialect) -> Probe>,
}

/// Another issuer's key, which the mutants believe.
const OTHER_JWKS: &str = "other.json";

fn settings() -> (Config, Vec<Restriction>) {
    let claims = |mut changes: Value| {
        changes.as_object_mut().expect("an object").entry("azp").or_insert("web".into());
        claims(changes)
    };
    let stranger = Signer::new("stranger", "EdDSA");
    let other_kind = Signer::new("other-kind", "ES256");
    let config = Config::shop()
        .edit("trusted_proxies: [127.0.0.0/8, \"::1/128\"]", "trusted_proxies: [127.0.0.1]")
        .edit(
            "audiences: [shop]",
            "audiences: [shop]\n    algorithms: [EdDSA]\n    accepts: [access_token]\n    types: [JWT]\n    leeway: 0s\n    max_lifetime: 1h\n    authorized_parties: [web]\n    claims: {roles: roles, scopes: scope}",
        )
        .edit("\nshutdown:", "\ncredentials: {cookie_name: jwt}\nshutdown:")
        .file("jwks.json", &json!({"keys": [KEY.jwk(), other_kind.jwk()]}).to_string())
        .file(OTHER_JWKS, &json!({"keys": [stranger.jwk()]}).to_string())
        .file("wide.yaml", "rules: [{id: wide, hosts: ['*'], paths: ['/**'], allow: authenticated}]");
    let config = Config {
        policy: "rules:\n  - {id: r, hosts: [shop.localhost], paths: [/products], allow: {roles: {any: [user, 'shop:user']}}}\n  \
                 - {id: s, hosts: [shop.localhost], paths: [/scoped], allow: {scopes: {any: [read]}}}\n"
            .to_owned(),
        ..config
    };
    let mut restrictions = Vec::new();
    let mut add = |key, from, to: &str, reason, probe: Box<dyn Fn(Dialect) -> Probe>| {
        restrictions.push(Restriction { key, from, to: to.to_owned(), reason, probe });
    };
    let bearer = |token: String| -> Box<dyn Fn(Dialect) -> Probe> {
        Box::new(move |dialect| Probe::new(dialect).bearer(&token))
    };
    let signed = |changes: Value| KEY.token(&claims(changes));
    let elsewhere = signed(json!({"aud": "elsewhere"}));
    add("audiences", "audiences: [shop]", "audiences: [shop, elsewhere]", "wrong_audience", bearer(elsewhere.clone()));
    add("danger_any_audience", "audiences: [shop]", "danger_any_audience: true", "wrong_audience", bearer(elsewhere));
    let stranger_iss = signed(json!({"iss": "https://elsewhere.example"}));
    add(
        "issuer",
        "issuer: https://id.shop.localhost",
        "issuer: https://elsewhere.example",
        "unknown_issuer",
        bearer(stranger_iss),
    );
    add("algorithms", "    algorithms: [EdDSA]\n", "", "unknown_key", bearer(other_kind.token(&claims(json!({})))));
    let typed = |typ: Value| {
        let mut header = KEY.header();
        header["typ"] = typ;
        KEY.sign(&header, &claims(json!({})))
    };
    add("types", "types: [JWT]", "types: [JWT, at+jwt]", "wrong_type", bearer(typed(json!("at+jwt"))));
    add("types", "    types: [JWT]\n", "", "wrong_type", bearer(typed(json!("at+jwt"))));
    let untyped = KEY.sign(&json!({"alg": "EdDSA", "kid": "test"}), &claims(json!({})));
    add("types", "types: [JWT]", "types: [JWT, none]", "wrong_type", bearer(untyped));
    for (reason, changes) in [
        ("expired", json!({"exp": now() - 20})),
        ("not_yet_valid", json!({"nbf": now() + 20})),
        ("issued_in_future", json!({"iat": now() + 20})),
    ] {
        add("leeway", "leeway: 0s", "leeway: 60s", reason, bearer(signed(changes)));
    }
    add(
        "accepts",
        "    accepts: [access_token]\n",
        "    accepts: [access_token, id_token]\n",
        "wrong_kind",
        bearer(signed(json!({"nonce": "x"}))),
    );
    let other_party = signed(json!({"azp": "other"}));
    add(
        "authorized_parties",
        "authorized_parties: [web]",
        "authorized_parties: [web, other]",
        "wrong_party",
        bearer(other_party),
    );
    let long = signed(json!({"exp": now() + 7200}));
    add("max_lifetime", "max_lifetime: 1h", "max_lifetime: 3h", "lifetime_too_long", bearer(long));
    let endless = signed(json!({"exp": null}));
    add("danger_no_expiry", "max_lifetime: 1h", "danger_no_expiry: true", "no_expiry", bearer(endless));
    let elsewhere_named = signed(json!({"sub": null, "uid": "alice"}));
    add("subject", "{roles: roles,", "{subject: uid, roles: roles,", "no_subject", bearer(elsewhere_named));
    let of_client = signed(json!({"roles": [], "resource_access": {"shop": {"roles": ["user"]}}}));
    add("client_roles", "{roles: roles,", "{client_roles: [shop], roles: roles,", "missing_role", bearer(of_client));
    let permitted = signed(json!({"permissions": ["read"]}));
    let permitted = move |dialect| Probe::new(dialect).uri("/scoped").bearer(&permitted);
    let with_permissions = "{permissions: permissions, roles: roles,";
    add("permissions", "{roles: roles,", with_permissions, "missing_scope", Box::new(permitted));
    let forged = stranger.token(&claims(json!({})));
    add("jwks_file", "jwks_file: jwks.json", "jwks_file: other.json", "unknown_key", bearer(forged));
    let nested = signed(json!({"roles": [], "realm_access": {"roles": ["user"]}}));
    add("roles", "roles: roles", "roles: realm_access.roles", "missing_role", bearer(nested));
    let scoped = signed(json!({"scp": "read"}));
    let at_scoped = move |dialect| Probe::new(dialect).uri("/scoped").bearer(&scoped);
    add("scopes", "scopes: scope", "scopes: scp", "missing_scope", Box::new(at_scoped));
    let cookie = signed(json!({}));
    let in_session = move |dialect| Probe::new(dialect).header("Cookie", format!("session={cookie}"));
    add("cookie_name", "cookie_name: jwt", "cookie_name: session", "no_credential", Box::new(in_session));
    let roleless = signed(json!({"roles": []}));
    add("policy", "policy: policy.yaml", "policy: wide.yaml", "missing_role", bearer(roleless));
    (config, restrictions)
}

#[tokio::test]
async fn t_e10_each_restriction_of_the_settings_keeps_somebody_out() {
    let (config, restrictions) = settings();
    let full = Gate::start(&config);
    let good = KEY.token(&claims(json!({"scope": "read", "azp": "web"})));
    for dialect in DIALECTS {
        Probe::new(dialect).bearer(&good).ask(&full).await.expect(200, "allowed");
    }
    for restriction in &restrictions {
        let Restriction { key, from, to, reason, probe } = restriction;
        let gate = Gate::start(&config.clone().edit(from, to));
        for dialect in DIALECTS {
            let refused = probe(dialect).ask(&full).await;
            assert_eq!((refused.status() == 200, refused.reason()), (false, *reason), "{key}: {refused:#?}");
        }
        assert!(allows(&gate, probe).await, "{key}: `{to}` instead of `{from}` lets nobody in, so nothing enforces it");
    }
    // Who may ask.
    let wider = Gate::start(&config.clone().edit("[127.0.0.1]", "[127.0.0.1, 127.0.0.6]"));
    for dialect in DIALECTS {
        let bytes = Probe::new(dialect).bearer(&good).bytes();
        full.exchange_from([127, 0, 0, 6], &bytes).await.expect(403, "untrusted_peer");
        wider.exchange_from([127, 0, 0, 6], &bytes).await.expect(200, "allowed");
    }
    assert!(config.settings.contains(ISSUER));
}

/// The keys of a file of settings or policy, from the types that read it.
fn keys(source: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(source)).expect("a source");
    let fields = text.lines().filter_map(|line| line.strip_prefix("    pub ")?.split_once(": "));
    fields
        .map(|(name, _)| if name == "one_of" { "in".to_owned() } else { name.to_owned() })
        .filter(|name| !name.contains('('))
        .collect()
}

/// A key that is new must be given its place here: among those that the tests above take away, or among those that keep nobody out.
#[test]
fn t_e10_no_key_is_left_out() {
    let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<String>>();
    let taken: BTreeSet<String> =
        mutants().into_iter().map(|(what, _)| what.split(':').next().expect("a key").to_owned()).collect();
    let harmless = names(&[
        // What is said, not to whom.
        "forbidden_status",
        "realm",
        "identity_headers",
        "user",
        "tier",
        "default_tier",
        "extra",
        "header",
        "id",
        "default",
        "template",
        "unsafe_values",
        "max_bytes",
        "message",
        "refusals",
        "people",
        "sign_in",
        // How much, not who: `limits::buckets` and `limits::failures` take each away.
        "limits",
        "limit_headers",
        // Parts of what is taken away whole; those of `times` are `policy::demand`'s tests.
        "days",
        "to",
        "zone",
        "origins",
        "headers",
        // A restriction that one issuer cannot show: `policy::demand`.
        "issuers",
        // The list itself: without it the policy does not compile (T-E9).
        "rules",
    ]);
    let known: BTreeSet<String> = taken.union(&harmless).cloned().collect();
    let written = &keys("src/policy/document.rs") | &keys("src/policy/document/allow.rs");
    assert_eq!(written, known);

    let taken: BTreeSet<String> = settings().1.iter().map(|restriction| restriction.key.to_owned()).collect();
    let taken = &taken | &names(&["trusted_proxies"]);
    let harmless = names(&[
        // Sections.
        "listeners",
        "decisions",
        "admin",
        "public",
        "issuers",
        "keys",
        "claims",
        "credentials",
        "stores",
        "verified_tokens",
        "reload",
        "audit",
        "shutdown",
        "log",
        "tls",
        // Where, how fast and how long; what is told and kept.
        "address",
        "keep_alive",
        "workers",
        "certificate_file",
        "key_file",
        "danger_fault_endpoint",
        "watch",
        "principal",
        "name",
        "tier",
        // Which claim they are, as `roles` and `scopes`: `api::policy`.
        "groups",
        // Other defaults of what stands above.
        "preset",
        // Whether anybody is kept out by a revocation, and who may make one: `revocations`.
        "revocations",
        // Where buckets are kept, and which claim tells them apart: `limits`.
        "limits",
        "tenant",
        "token_file",
        "token_env",
        "refresh",
        "max_stale",
        "max_mebibytes",
        "to",
        "file",
        "not_ready_for",
        "drain",
        "level",
        // A restriction of time: T-E3.
        "deadline",
        // Of opaque tokens: `introspection::threats::t_e10_…` takes them away; and how they are asked about.
        "introspection",
        "about",
        "token_prefix",
        "danger_no_audience",
        "danger_no_token_type",
        "url",
        "client_id",
        "client_secret_file",
        "client_secret_env",
        "auth",
        "max_age",
        "negative_max_age",
        // Other sources of keys in the place of jwks_file: `api::tokens`, `keys`.
        "jwks_url",
        "discovery_url",
        "ca_file",
        "pem_file",
        "hmac_secret_file",
        "hmac_secret_env",
        "danger_allow_http_issuer",
    ]);
    let known: BTreeSet<String> = taken.union(&harmless).cloned().collect();
    let written = &keys("src/config/settings.rs") | &keys("src/config/settings/issuers.rs");
    assert_eq!(written, known);
    assert_eq!(taken.intersection(&harmless).collect::<Vec<_>>(), Vec::<&String>::new());
}
