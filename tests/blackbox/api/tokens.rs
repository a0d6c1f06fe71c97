//! Tokens: forged, broken, stale, and those that are good.

use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use serde_json::{Value, json};

use super::probe::{BOTH, Probe, STEPS, Step, said, together};
use crate::support::gate::{Answer, Config, Gate, ISSUER, KEY, claims, now, token};
use crate::support::signer::{Signer, encode};

/// A rule for whoever is somebody, and rules that demand more.
const POLICY: &str = "\
rules:
  - {id: any, hosts: [shop.localhost], paths: [/any], allow: authenticated}
  - {id: read, hosts: [shop.localhost], paths: [/read], allow: {scopes: {any: [read]}}}
  - {id: write, hosts: [shop.localhost], paths: [/write], allow: {scopes: {all: [read, write]}}}
  - {id: admin, hosts: [shop.localhost], paths: [/admin], allow: {roles: {any: [admin]}}}
  - {id: tenant, hosts: [shop.localhost], paths: [/tenant], allow: {claims: [{claim: tenant, equals: acme}]}}
";

/// A gate with these issuers.
fn config(issuers: &str) -> Config {
    let settings = format!(
        "listeners: {{decisions: {{address: 127.0.0.1:0}}, admin: {{address: 127.0.0.1:0}}}}\npolicy: policy.yaml\nshutdown: {{not_ready_for: 0s}}\nissuers:\n{issuers}"
    );
    Config { settings, ..Config::with_policy(POLICY) }
}

fn gate() -> Gate {
    Gate::start(&Config::with_policy(POLICY))
}

async fn ask(gate: &Gate, token: &str) -> Answer {
    Probe::traefik().uri("/any").bearer(token).ask(gate).await
}

/// Presents each token in every way, and wants this answer.
async fn all(gate: &Gate, cases: &[(String, &str)]) {
    together(cases.iter().map(async |(token, reason)| {
        let status = if *reason == "allowed" { 200 } else { 401 };
        for dialect in BOTH {
            let probe = Probe::new(dialect).uri("/any");
            probe.clone().bearer(token).ask(gate).await.expect(status, reason);
            // The second time the answer comes from memory, if it was a good one; it is the same.
            probe.clone().bearer(token).ask(gate).await.expect(status, reason);
            probe.cookie(token).ask(gate).await.expect(status, reason);
        }
        if *reason != "allowed" {
            for step in STEPS {
                Probe::envoy().step(step).uri("/any").bearer(token).ask(gate).await.expect(401, reason);
            }
        }
    }))
    .await;
}

/// A token of the shop's key with this header.
fn headed(changes: Value) -> String {
    let mut header = KEY.header();
    for (name, value) in changes.as_object().expect("an object") {
        header[name] = value.clone();
    }
    KEY.sign(&header, &claims(json!({})))
}

fn without(name: &str) -> String {
    let mut header = KEY.header();
    header.as_object_mut().expect("an object").remove(name);
    KEY.sign(&header, &claims(json!({})))
}

/// A token of the shop's key with these claims.
fn claiming(changes: Value) -> String {
    KEY.token(&claims(changes))
}

/// A token of the shop's key with this member of the claims, written by hand.
fn written(member: &str) -> String {
    let claims = claims(json!({})).to_string();
    KEY.sign_text(&KEY.header().to_string(), &format!("{},{member}}}", claims.strip_suffix('}').expect("an object")))
}

#[tokio::test]
async fn t_f14_no_algorithm_but_the_keys_own_is_believed() {
    let (ed, rsa, pss, ec) = (
        Signer::new("ed", "EdDSA"),
        Signer::new("rsa", "RS256"),
        Signer::new("pss", "PS256"),
        Signer::new("ec", "ES256"),
    );
    let jwks = json!({"keys": [ed.jwk(), rsa.jwk(), pss.jwk(), ec.jwk()]}).to_string();
    let gate = Gate::start(&Config::with_policy(POLICY).file("jwks.json", &jwks));
    let good = claims(json!({}));
    let mut cases: Vec<(String, &str)> = [&ed, &rsa, &pss, &ec].map(|key| (key.token(&good), "allowed")).to_vec();
    // No signature at all, under every spelling of "none".
    let body = encode(good.to_string());
    for alg in ["none", "None", "nONE", "NONE", "noNe", "", "null"] {
        for header in
            [json!({"alg": alg}), json!({"alg": alg, "typ": "JWT"}), json!({"alg": alg, "typ": "JWT", "kid": "ed"})]
        {
            let reason = if header.get("typ").is_some() { "algorithm_not_allowed" } else { "wrong_type" };
            for signature in ["", "AA"] {
                cases.push((format!("{}.{body}.{signature}", encode(header.to_string())), reason));
            }
            cases.push((ed.sign(&header, &good), reason));
        }
    }
    // The public key taken for a shared secret, in every form that an issuer publishes.
    for key in [&ed, &rsa, &ec] {
        let jwk = key.jwk();
        let pem = key.pem();
        let secrets = [
            pem.clone(),
            pem.trim().to_owned(),
            pem.lines().nth(1).expect("a body").to_owned(),
            jwk.to_string(),
            jwk["x"].as_str().or(jwk["n"].as_str()).expect("a number").to_owned(),
        ];
        for (secret, alg) in secrets.iter().flat_map(|secret| ["HS256", "HS384", "HS512"].map(|alg| (secret, alg))) {
            let forger = Signer::hmac(alg, secret.as_bytes());
            let header = json!({"alg": alg, "typ": "JWT", "kid": jwk["kid"]});
            cases.push((forger.sign(&header, &good), "algorithm_not_allowed"));
            cases.push((forger.token(&good), "algorithm_not_allowed"));
        }
    }
    // Another algorithm of the same key, or of another one.
    for (key, kid, algs) in [
        (&rsa, "rsa", ["RS384", "RS512", "PS256", "PS512", "ES256", "EdDSA", "rs256", "RS256 ", "RSA256"]),
        (&pss, "pss", ["RS256", "PS384", "PS512", "RS512", "ES384", "HS256", "ps256", "PS", "RSA-PSS"]),
        (&ec, "ec", ["ES384", "ES512", "ES256K", "EdDSA", "RS256", "PS256", "HS256", "es256", "ECDSA"]),
        (&ed, "ed", ["ES256", "RS256", "HS256", "eddsa", "Ed448", "EDDSA", "ed25519", "X25519", "ES256K"]),
    ] {
        for alg in algs {
            cases.push((key.sign(&json!({"alg": alg, "typ": "JWT", "kid": kid}), &good), "algorithm_not_allowed"));
        }
    }
    cases.push((ed.sign(&json!({"alg": "Ed25519", "typ": "JWT", "kid": "ed"}), &good), "allowed"));
    // The right algorithm and the wrong key.
    let stranger = Signer::new("ed", "EdDSA");
    cases.push((stranger.token(&good), "bad_signature"));
    cases.push((Signer::new("ec", "ES256").token(&good), "bad_signature"));
    cases.push((pss.sign(&json!({"alg": "RS256", "typ": "JWT", "kid": "rsa"}), &good), "bad_signature"));
    cases.push((rsa.sign(&json!({"alg": "PS256", "typ": "JWT", "kid": "pss"}), &good), "bad_signature"));
    cases.push((ed.sign(&json!({"alg": "ES256", "typ": "JWT", "kid": "ec"}), &good), "bad_signature"));
    // No `alg`, or one that is no text.
    cases.push((ed.sign(&json!({"typ": "JWT", "kid": "ed"}), &good), "algorithm_not_allowed"));
    for alg in [json!(null), json!(1), json!(["EdDSA"]), json!({"EdDSA": 1}), json!(true)] {
        cases.push((ed.sign(&json!({"alg": alg, "typ": "JWT", "kid": "ed"}), &good), "malformed_token"));
    }
    all(&gate, &cases).await;
}

#[tokio::test]
async fn every_algorithm_works_from_every_source_that_may_hold_it() {
    let names = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];
    let keys: Vec<Signer> = names.map(|alg| Signer::new(&alg.to_lowercase(), alg)).into();
    let jwks = json!({"keys": keys.iter().map(Signer::jwk).collect::<Vec<_>>()}).to_string();
    let mut issuers = "  - {name: jwks, issuer: jwks, audiences: [shop], keys: {jwks_file: jwks.json}}\n".to_owned();
    let mut files = vec![("jwks.json".to_owned(), jwks)];
    let mut cases = Vec::new();
    let good = |issuer: &str| claims(json!({"iss": issuer}));
    for (alg, key) in names.iter().zip(&keys) {
        cases.push((key.token(&good("jwks")), "allowed"));
        // A PEM file says nothing of its algorithm: the settings do, or the usual one of its kind counts.
        let usual = ["RS256", "ES256", "ES384", "EdDSA"].contains(alg);
        for algorithms in [None, Some(*alg)] {
            if algorithms.is_none() && !usual {
                continue;
            }
            let name = format!("pem-{}-{}", alg.to_lowercase(), algorithms.is_some());
            let line = algorithms.map_or_else(String::new, |alg| format!(", algorithms: [{alg}]"));
            issuers += &format!(
                "  - {{name: {name}, issuer: {name}, audiences: [shop], keys: {{pem_file: {name}.pem}}{line}}}\n"
            );
            files.push((format!("{name}.pem"), key.pem()));
            cases.push((key.token(&good(&name)), "allowed"));
            let mut header = key.header();
            header["kid"] = json!("whatever it is called");
            cases.push((key.sign(&header, &good(&name)), "allowed"));
            header["alg"] = json!(if *alg == "ES256" { "ES384" } else { "ES256" });
            cases.push((key.sign(&header, &good(&name)), "algorithm_not_allowed"));
        }
    }
    let mut environment = Vec::new();
    for alg in ["HS256", "HS384", "HS512"] {
        let secret = format!("{alg}-{}", "s3cret.".repeat(9));
        for (place, source) in [
            ("file", format!("hmac_secret_file: {alg}.secret")),
            ("env", format!("hmac_secret_env: TEST_SECRET_{alg}")),
        ] {
            let name = format!("{}-{place}", alg.to_lowercase());
            let algorithms = if alg == "HS256" { String::new() } else { format!(", algorithms: [{alg}]") };
            issuers +=
                &format!("  - {{name: {name}, issuer: {name}, audiences: [shop], keys: {{{source}}}{algorithms}}}\n");
            cases.push((Signer::hmac(alg, secret.as_bytes()).token(&good(&name)), "allowed"));
            cases.push((Signer::hmac(alg, &secret.as_bytes()[1..]).token(&good(&name)), "bad_signature"));
            cases.push((Signer::hmac(alg, format!("{secret}\n").as_bytes()).token(&good(&name)), "bad_signature"));
            let other = if alg == "HS256" { "HS512" } else { "HS256" };
            cases.push((Signer::hmac(other, secret.as_bytes()).token(&good(&name)), "algorithm_not_allowed"));
            cases.push((keys[8].token(&good(&name)), "algorithm_not_allowed"));
        }
        files.push((format!("{alg}.secret"), format!("{secret}\n")));
        environment.push((format!("TEST_SECRET_{alg}"), secret));
    }
    let gate = Gate::start(&Config { files, environment, ..config(&issuers) });
    all(&gate, &cases).await;
}

#[tokio::test]
async fn of_a_secret_file_only_the_line_feed_at_its_end_is_no_secret() {
    let secret = "0123456789abcdef0123456789abcdef \t";
    let issuer =
        format!("  - {{name: shop, issuer: '{ISSUER}', audiences: [shop], keys: {{hmac_secret_file: it.secret}}}}\n");
    for end in ["", "\n"] {
        let gate = Gate::start(&config(&issuer).file("it.secret", &format!("{secret}{end}")));
        ask(&gate, &Signer::hmac("HS256", secret.as_bytes()).token(&claims(json!({})))).await.expect(200, "allowed");
        ask(&gate, &Signer::hmac("HS256", secret.trim().as_bytes()).token(&claims(json!({}))))
            .await
            .expect(401, "bad_signature");
    }
}

#[tokio::test]
async fn t_f14_keys_are_found_by_name_and_only_those_that_verify() {
    let (one, two, nameless) = (Signer::new("one", "EdDSA"), Signer::new("two", "EdDSA"), Signer::new("", "EdDSA"));
    let (encryption, wrapping, shared) =
        (Signer::new("enc", "EdDSA"), Signer::new("wrap", "EdDSA"), Signer::hmac("HS256", &[7; 32]));
    let mut keys = vec![one.jwk(), two.jwk()];
    for (key, name, value) in [(&encryption, "use", json!("enc")), (&wrapping, "key_ops", json!(["sign", "wrapKey"]))] {
        let mut jwk = key.jwk();
        jwk[name] = value;
        keys.push(jwk);
    }
    let mut secret = shared.jwk();
    secret["kid"] = json!("shared");
    keys.push(secret);
    let named = Gate::start(&Config::with_policy(POLICY).file("jwks.json", &json!({"keys": keys}).to_string()));
    let good = claims(json!({}));
    let with = |key: &Signer, kid: Value| key.sign(&json!({"alg": "EdDSA", "typ": "JWT", "kid": kid}), &good);
    let no_kid = |key: &Signer| key.sign(&json!({"alg": "EdDSA", "typ": "JWT"}), &good);
    let mut cases = vec![
        (one.token(&good), "allowed"),
        (two.token(&good), "allowed"),
        (no_kid(&one), "allowed"),
        (no_kid(&two), "allowed"),
        (with(&one, json!("two")), "bad_signature"),
        (with(&two, json!("one")), "bad_signature"),
        (no_kid(&nameless), "bad_signature"),
        (encryption.token(&good), "unknown_key"),
        (wrapping.token(&good), "unknown_key"),
        (no_kid(&encryption), "bad_signature"),
        (shared.sign(&json!({"alg": "HS256", "typ": "JWT", "kid": "shared"}), &good), "unknown_key"),
        (shared.sign(&json!({"alg": "HS256", "typ": "JWT"}), &good), "algorithm_not_allowed"),
    ];
    for kid in [
        "",
        "three",
        "ONE",
        "one ",
        " one",
        "one\u{0}",
        "../../../../dev/null",
        "' OR 1=1 --",
        "https://evil.example/key",
        "%6fne",
        "0",
    ] {
        cases.push((with(&one, json!(kid)), "unknown_key"));
    }
    for kid in [json!(null), json!(1), json!(["one"]), json!({"one": 1}), json!(true)] {
        cases.push((with(&one, kid), "malformed_token"));
    }
    all(&named, &cases).await;
    let log = named.log();
    for aside in ["enc", "wrap", "shared"] {
        assert!(log.contains(&format!("key `{aside}`")) && log.contains("set aside"), "{log}");
    }
    // A key without a name is tried for every name that no other key has.
    let mut jwk = nameless.jwk();
    jwk.as_object_mut().expect("an object").remove("kid");
    let mixed =
        Gate::start(&Config::with_policy(POLICY).file("jwks.json", &json!({"keys": [one.jwk(), jwk]}).to_string()));
    let cases = [
        (no_kid(&nameless), "allowed"),
        (with(&nameless, json!("unknown")), "allowed"),
        (with(&nameless, json!("one")), "bad_signature"),
        (with(&one, json!("unknown")), "bad_signature"),
        (no_kid(&one), "allowed"),
    ];
    all(&mixed, &cases).await;
}

#[tokio::test]
async fn t_f14_what_a_header_says_beyond_key_and_type_opens_nothing() {
    let gate = gate();
    let forger = Signer::new("test", "EdDSA");
    let mut cases = Vec::new();
    let key = forger.jwk();
    for (name, value) in [
        ("jwk", key.clone()),
        ("jku", json!("http://127.0.0.1:9/jwks.json")),
        ("x5u", json!("http://127.0.0.1:9/chain.pem")),
        ("x5c", json!(["MIIB"])),
        ("x5t", json!("x")),
        ("zip", json!("DEF")),
        ("enc", json!("A256GCM")),
        ("b64", json!(false)),
        ("cty", json!("JWT")),
        ("iss", json!("https://other.example")),
        ("unknown", json!({"a": [1]})),
    ] {
        let mut header = forger.header();
        header[name] = value.clone();
        cases.push((forger.sign(&header, &claims(json!({}))), "bad_signature"));
        // Under a good signature such members are read by nobody.
        cases.push((headed(json!({name: value})), "allowed"));
    }
    let mut unnamed = forger.header();
    unnamed.as_object_mut().expect("an object").remove("kid");
    unnamed["jwk"] = key;
    cases.push((forger.sign(&unnamed, &claims(json!({}))), "bad_signature"));
    for crit in [
        json!([]),
        json!(["b64"]),
        json!(["exp"]),
        json!(null),
        json!("exp"),
        json!({}),
        json!(false),
        json!(["http://example.com/x"]),
    ] {
        cases.push((headed(json!({"crit": crit})), "critical_header"));
        cases.push((headed(json!({"crit": crit, "b64": false, "exp": 1})), "critical_header"));
    }
    for typ in ["JWT", "jwt", "Jwt", "at+jwt", "AT+JWT", "application/at+jwt", "application/jwt", "APPLICATION/AT+JWT"]
    {
        cases.push((headed(json!({"typ": typ})), "allowed"));
    }
    for typ in [
        "",
        " ",
        "JWT ",
        "JOSE",
        "JWE",
        "logout+jwt",
        "dpop+jwt",
        "secevent+jwt",
        "application/application/jwt",
        "at+jwt;v=1",
        "x/jwt",
        "none",
        "JWT,at+jwt",
        "id+jwt",
    ] {
        cases.push((headed(json!({"typ": typ})), "wrong_type"));
    }
    cases.push((without("typ"), "wrong_type"));
    for typ in [json!(null), json!(1), json!(["JWT"]), json!({})] {
        cases.push((headed(json!({"typ": typ})), "malformed_token"));
    }
    all(&gate, &cases).await;
    let lax = Gate::start(
        &Config::with_policy(POLICY)
            .edit("    audiences: [shop]\n", "    audiences: [shop]\n    types: [none, Custom+JWT]\n"),
    );
    let cases = [
        (without("typ"), "allowed"),
        (headed(json!({"typ": "custom+jwt"})), "allowed"),
        (headed(json!({"typ": "application/custom+jwt"})), "allowed"),
        (headed(json!({"typ": "JWT"})), "wrong_type"),
        (headed(json!({"typ": "none"})), "wrong_type"),
        (headed(json!({"typ": ""})), "wrong_type"),
    ];
    all(&lax, &cases).await;
}

#[tokio::test]
async fn t_f14_issuer_audience_and_subject_are_exactly_ours() {
    let gate = gate();
    let mut cases = vec![(claiming(json!({})), "allowed")];
    for iss in [
        json!(format!("{ISSUER}/")),
        json!(ISSUER.to_uppercase()),
        json!(format!(" {ISSUER}")),
        json!("https://evil.example"),
        json!(""),
        json!(null),
        json!(1),
        json!([ISSUER]),
        json!([ISSUER, "x"]),
        json!({ISSUER: 1}),
        json!("https://id.shop.localhost:443"),
        json!("shop"),
        json!("*"),
        json!(format!("{ISSUER}\u{0}")),
    ] {
        cases.push((written_over("iss", &iss), "unknown_issuer"));
    }
    cases.push((claiming(json!({"iss": null})), "unknown_issuer"));
    for aud in [json!("shop"), json!(["shop"]), json!(["x", "shop"]), json!(["shop", "shop"])] {
        cases.push((written_over("aud", &aud), "allowed"));
    }
    for aud in [
        json!("other"),
        json!(""),
        json!("Shop"),
        json!("shop "),
        json!("shop,other"),
        json!("shop other"),
        json!(["other"]),
        json!([""]),
        json!("*"),
        json!(["shop2"]),
    ] {
        cases.push((written_over("aud", &aud), "wrong_audience"));
    }
    for aud in [
        json!([]),
        json!(1),
        json!(null),
        json!(true),
        json!({"shop": 1}),
        json!(["shop", 1]),
        json!([["shop"]]),
        json!([null]),
    ] {
        cases.push((written_over("aud", &aud), "malformed_claim"));
    }
    cases.push((claiming(json!({"aud": null})), "wrong_audience"));
    for sub in [json!(""), json!(" "), json!("\t\n"), json!(null), json!("\u{a0}")] {
        cases.push((written_over("sub", &sub), "no_subject"));
    }
    cases.push((claiming(json!({"sub": null})), "no_subject"));
    for sub in [json!(1), json!(["alice"]), json!({"a": 1}), json!(true), json!(1.5)] {
        cases.push((written_over("sub", &sub), "malformed_claim"));
    }
    for sub in [json!("0"), json!("null"), json!("a b"), json!("\u{1f980}"), json!("auth0|x@y")] {
        cases.push((written_over("sub", &sub), "allowed"));
    }
    all(&gate, &cases).await;
}

/// Good claims with this one, which may be null.
fn written_over(name: &str, value: &Value) -> String {
    let mut claims = claims(json!({}));
    claims[name] = value.clone();
    KEY.token(&claims)
}

#[tokio::test]
async fn t_f14_a_token_holds_in_its_time_only() {
    let gate = gate();
    let now = now();
    let mut cases = Vec::new();
    // Five seconds of leeway; the tests leave room for a slow machine.
    for (exp, reason) in [
        (json!(now + 60), "allowed"),
        (json!(now - 1), "allowed"),
        (json!(now - 20), "expired"),
        (json!(now - 86_400), "expired"),
        (json!(0), "expired"),
        (json!(1), "expired"),
        (json!(-0.0), "expired"),
        (json!(now as f64 + 60.5), "allowed"),
        (json!(now as f64 - 60.5), "expired"),
        (json!(253_402_300_799_u64), "lifetime_too_long"),
        (json!(253_402_300_800_u64), "malformed_claim"),
        (json!(u64::MAX), "malformed_claim"),
        (json!(i64::MIN), "malformed_claim"),
        (json!(1e300), "malformed_claim"),
        (json!(-1), "malformed_claim"),
        (json!(-1e300), "malformed_claim"),
        (json!((now + 60).to_string()), "malformed_claim"),
        (json!("never"), "malformed_claim"),
        (json!(""), "malformed_claim"),
        (json!(null), "malformed_claim"),
        (json!(true), "malformed_claim"),
        (json!([now + 60]), "malformed_claim"),
        (json!({"exp": now + 60}), "malformed_claim"),
        (json!((now + 60) * 1000), "malformed_claim"),
    ] {
        // Milliseconds are the usual mistake: the year 50000 makes no sense.
        let reason = if exp == json!((now + 60) * 1000) { "malformed_claim" } else { reason };
        cases.push((written_over("exp", &exp), reason));
    }
    cases.push((claiming(json!({"exp": null})), "no_expiry"));
    for text in ["1e3", "1E+3", "99e-2", "1.0", "0.0001"] {
        cases.push((
            KEY.sign_text(
                &KEY.header().to_string(),
                &claims(json!({"exp": null})).to_string().replacen('{', &format!("{{\"exp\":{text},"), 1),
            ),
            "expired",
        ));
    }
    for text in ["1e999", "-1e999", "NaN", "Infinity", "0x7fffffff", "+5", "01", "1_000", "5.", ".5", "1e", "--1"] {
        let token = KEY.sign_text(
            &KEY.header().to_string(),
            &claims(json!({"exp": null})).to_string().replacen('{', &format!("{{\"exp\":{text},"), 1),
        );
        cases.push((token, "malformed_token"));
    }
    for (nbf, reason) in [
        (json!(now), "allowed"),
        (json!(now - 1000), "allowed"),
        (json!(0), "allowed"),
        (json!(now + 60), "not_yet_valid"),
        (json!(now as f64 + 60.5), "not_yet_valid"),
        (json!(253_402_300_799_u64), "not_yet_valid"),
        (json!(u64::MAX), "malformed_claim"),
        (json!(-1), "malformed_claim"),
        (json!("0"), "malformed_claim"),
        (json!(null), "malformed_claim"),
        (json!([0]), "malformed_claim"),
        (json!(false), "malformed_claim"),
    ] {
        cases.push((written_over("nbf", &nbf), reason));
    }
    for (iat, reason) in [
        (json!(now), "allowed"),
        (json!(0), "lifetime_too_long"),
        (json!(now + 60), "issued_in_future"),
        (json!(253_402_300_799_u64), "issued_in_future"),
        (json!(u64::MAX), "malformed_claim"),
        (json!(-1), "malformed_claim"),
        (json!("0"), "malformed_claim"),
        (json!(null), "malformed_claim"),
        (json!({}), "malformed_claim"),
    ] {
        cases.push((written_over("iat", &iat), reason));
    }
    cases.push((claiming(json!({"iat": null})), "allowed"));
    all(&gate, &cases).await;
    // A little ahead is within the leeway.
    let ahead = crate::support::gate::now() + 2;
    ask(&gate, &claiming(json!({"nbf": ahead, "iat": ahead}))).await.expect(200, "allowed");
    // Without leeway the borders are exact.
    let strict = Gate::start(
        &Config::with_policy(POLICY).edit("    audiences: [shop]\n", "    audiences: [shop]\n    leeway: 0s\n"),
    );
    let now = crate::support::gate::now();
    for (changes, reason) in [
        (json!({"exp": now}), "expired"),
        (json!({"nbf": now + 30}), "not_yet_valid"),
        (json!({"iat": now + 30}), "issued_in_future"),
    ] {
        ask(&strict, &claiming(changes)).await.expect(401, reason);
    }
}

#[tokio::test]
async fn t_f14_json_that_can_be_read_in_two_ways_is_not_read() {
    let gate = gate();
    let mut cases = Vec::new();
    for member in [
        r#""sub":"bob""#,
        r#""sub":"alice""#,
        r#""exp":99999999999"#,
        r#""roles":["admin"]"#,
        r#""\u0073ub":"bob""#,
        r#""iss":"https://id.shop.localhost""#,
        r#""a":1,"a":2"#,
        r#""deep":{"a":1,"a":1}"#,
        r#""list":[{"a":1,"\u0061":1}]"#,
    ] {
        cases.push((written(member), "malformed_token"));
    }
    for member in
        [r#""Sub":"bob""#, r#""SUB":1"#, r#""sub ":"bob""#, r#""deep":{"sub":"bob"}"#, r#""x":{"a":1},"y":{"a":1}"#]
    {
        cases.push((written(member), "allowed"));
    }
    let good = claims(json!({})).to_string();
    for header in [
        r#"{"alg":"EdDSA","typ":"JWT","kid":"test","alg":"EdDSA"}"#,
        r#"{"alg":"EdDSA","typ":"JWT","kid":"test","kid":"test"}"#,
        r#"{"alg":"none","alg":"EdDSA","typ":"JWT","kid":"test"}"#,
        r#"{"alg":"EdDSA","typ":"JWT","kid":"test","al\u0067":"none"}"#,
        r#"{"alg":"EdDSA","typ":"JWT","kid":"test","crit":1,"crit":1}"#,
    ] {
        cases.push((KEY.sign_text(header, &good), "malformed_token"));
    }
    let header = KEY.header().to_string();
    let deep = |depth: usize| format!("\"d\":{}{}", "[".repeat(depth), "]".repeat(depth));
    for text in [
        String::new(),
        "{}x".into(),
        format!("{good}{good}"),
        format!("{good},"),
        format!("[{good}]"),
        "null".into(),
        "1".into(),
        "\"x\"".into(),
        "{".into(),
        format!("\u{feff}{good}"),
        format!("{good}\u{0}"),
        good.replace('{', "{{"),
        good.replace(':', "="),
        good.replace('"', "'"),
        format!("/**/{good}"),
        good.replacen('{', "{,", 1),
        good.replace("\"alice\"", "\"ali\u{1}ce\""),
        good.replace("\"alice\"", r#""\ud800""#),
        good.replace("\"alice\"", r#""\x61""#),
        good.replace("\"alice\"", "alice"),
        good.replace("\"alice\"", "\"alice\",\"x\":undefined"),
    ] {
        cases.push((KEY.sign_text(&header, &text), "malformed_token"));
        // The same in the header, where it is read first.
        if !text.is_empty() {
            cases.push((
                KEY.sign_text(&text.replace(&good, &header), &good).clone(),
                if text == good { "allowed" } else { "malformed_token" },
            ));
        }
    }
    for (depth, reason) in
        [(5, "allowed"), (14, "allowed"), (16, "malformed_token"), (100, "malformed_token"), (5000, "malformed_token")]
    {
        cases.push((written(&deep(depth)), reason));
    }
    cases.push((written(&format!("\"d\":{}1{}", "{\"a\":".repeat(1000), "}".repeat(1000))), "malformed_token"));
    // Spaces and escapes are no second reading.
    cases.push((KEY.sign_text(&format!(" {header}\r\n\t"), &format!("\n {good} \r\n")), "allowed"));
    cases.push((KEY.sign_text(&header, &good.replace("\"alice\"", r#""\u0061lice""#)), "allowed"));
    all(&gate, &cases).await;
}

#[tokio::test]
async fn claims_that_are_no_utf_8_are_not_read_even_under_a_good_signature() {
    let secret = "0123456789abcdef0123456789abcdef";
    let issuer =
        format!("  - {{name: shop, issuer: '{ISSUER}', audiences: [shop], keys: {{hmac_secret_env: TEST_SECRET}}}}\n");
    let gate = Gate::start(&config(&issuer).env("TEST_SECRET", secret));
    let sign = |claims: &[u8]| {
        let input = format!("{}.{}", encode(json!({"alg": "HS256", "typ": "JWT"}).to_string()), encode(claims));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), input.as_bytes());
        format!("{input}.{}", encode(tag.as_ref()))
    };
    let good = claims(json!({"sub": "@"})).to_string();
    let with = |bytes: &[u8]| {
        let (before, after) = good.split_once('@').expect("the mark");
        sign(&[before.as_bytes(), bytes, after.as_bytes()].concat())
    };
    let mut cases = vec![(with(b"alice"), "allowed"), (with("Zo\u{eb}".as_bytes()), "allowed")];
    for bytes in
        [&b"\xff"[..], b"a\xc3", b"\xc0\xae", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xe2\x82", b"\x80", b"\x00"]
    {
        cases.push((with(bytes), "malformed_token"));
    }
    cases.push((sign(&[0xff, 0xfe, b'{', 0, b'}', 0]), "malformed_token"));
    all(&gate, &cases).await;
}

#[tokio::test]
async fn t_f10_what_is_no_compact_jws_is_no_token() {
    let gate = gate();
    let good = token("alice", &["user"]);
    let parts: Vec<&str> = good.split('.').collect();
    let (header, payload, signature) = (parts[0], parts[1], parts[2]);
    let bad_signature = [
        format!("{header}.{payload}."),
        format!("{header}.{payload}.{}", &signature[1..]),
        format!("{header}.{payload}.{signature}="),
        format!("{header}.{payload}.{signature}AA"),
        format!("{header}.{payload}.{signature}{signature}"),
        format!("{header}.{payload}.{}", &signature[..signature.len() - 1]),
        format!("{header}.{payload}.{}", "A".repeat(86)),
        format!("{header}.{payload}.+{}", &signature[1..]),
        format!("{header}.{payload}.!"),
        format!("{header}.{payload}.{signature}%3D"),
    ];
    let malformed = [
        ".".into(),
        "..".into(),
        "...".into(),
        header.into(),
        format!("{header}.{payload}"),
        format!("{good}."),
        format!(".{good}"),
        format!("{good}.x"),
        format!("{good}.{good}"),
        format!("{header}=.{payload}.{signature}"),
        format!("{header}.{payload}=.{signature}"),
        format!("{header}.{payload}==.{signature}"),
        format!("{header}..{signature}"),
        format!(".{payload}.{signature}"),
        format!("{header}.{payload}+.{signature}"),
        format!("{header}.{payload}/.{signature}"),
        format!("{header}!.{payload}.{signature}"),
        format!("{header}A.{payload}.{signature}"),
        format!("{header}.{header}.{payload}.{payload}.{signature}"),
        "a.b.c.d.e".into(),
        "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..AAAAAAAAAAAAAAAA.AAAA.AAAAAAAAAAAAAAAAAAAAAA".into(),
        good.replace('.', ";"),
        good.replace('.', "%2E"),
        good.to_lowercase().replacen("ey", "EY", 1),
        KEY.sign_text(&json!({"alg": "EdDSA", "typ": "JWT", "kid": "test", "cty": "JWT"}).to_string(), &good),
        format!("\"{good}\""),
        format!("{{\"payload\":\"{payload}\",\"protected\":\"{header}\",\"signature\":\"{signature}\"}}")
            .replace(',', ";"),
        "undefined".into(),
        "null".into(),
    ];
    let mut cases: Vec<(String, &str)> = bad_signature.map(|token| (token, "bad_signature")).into();
    cases.extend(malformed.map(|token: String| (token, "malformed_token")));
    cases.push((format!("{payload}.{header}.{signature}"), "unknown_issuer"));
    cases.push((good.clone(), "allowed"));
    all(&gate, &cases).await;
    // White space around it belongs to the header line, inside it to nobody.
    for inside in [
        format!("{header}. {payload}.{signature}"),
        format!("{header}.{payload}\t.{signature}"),
        format!("{header} .{payload}.{signature}"),
    ] {
        ask(&gate, &inside).await.expect(401, "malformed_credential");
    }
    ask(&gate, &format!("  {good} \t ")).await.expect(200, "allowed");
}

#[tokio::test]
async fn t_f14_a_change_of_any_letter_is_seen() {
    let gate = gate();
    let good = token("alice", &["user"]);
    ask(&gate, &good).await.expect(200, "allowed");
    let forged: Vec<String> = (0..good.len())
        .flat_map(|place| {
            // The neighbouring letter, a letter far away, and one whose bits differ in the unused end of the last one.
            let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
            let here = alphabet.iter().position(|letter| *letter == good.as_bytes()[place]);
            let others = here.map_or(vec![b'A', b'_'], |here| vec![alphabet[here ^ 1], alphabet[here ^ 33]]);
            let good = &good;
            others
                .into_iter()
                .map(move |other| format!("{}{}{}", &good[..place], char::from(other), &good[place + 1..]))
        })
        .collect();
    assert!(forged.len() >= 2 * (good.len() - 2) && forged.iter().all(|token| *token != good));
    together(forged.iter().map(async |token| {
        let answer = ask(&gate, token).await;
        assert_eq!(answer.status(), 401, "{token} {answer:#?}");
    }))
    .await;
    let cuts: Vec<&str> = (1..good.len()).step_by(7).map(|end| &good[..end]).chain([&good[..good.len() - 1]]).collect();
    together(cuts.iter().map(async |token| {
        let answer = ask(&gate, token).await;
        assert_eq!(answer.status(), 401, "{token} {answer:#?}");
    }))
    .await;
    ask(&gate, &good).await.expect(200, "allowed");
}

#[tokio::test]
async fn t_f10_a_token_has_a_bounded_size() {
    let gate = gate();
    let sized = |size: usize| {
        let mut padding = size * 3 / 4;
        loop {
            let token = claiming(json!({"pad": "x".repeat(padding)}));
            if token.len() <= size {
                return token;
            }
            padding -= (token.len() - size).div_ceil(2).max(1);
        }
    };
    let fits = sized(16 * 1024);
    assert!(fits.len() > 16 * 1024 - 4, "{}", fits.len());
    let cases = [
        (fits, "allowed"),
        (sized(17 * 1024), "token_too_large"),
        (sized(60 * 1024), "token_too_large"),
        (".".repeat(100_000), "token_too_large"),
        ("a.".repeat(40_000), "token_too_large"),
        (".".repeat(16_384), "malformed_token"),
        ("a".repeat(16_385), "token_too_large"),
    ];
    all(&gate, &cases).await;
}

#[tokio::test]
async fn the_challenge_tells_what_rfc_6750_lets_it_tell() {
    let gate = gate();
    let expired = claiming(json!({"exp": 1_000_000_000}));
    let scoped = claiming(json!({"scope": "profile"}));
    let forged = Signer::new("test", "EdDSA").token(&claims(json!({})));
    for dialect in BOTH {
        let probe = |uri: &str| Probe::new(dialect).uri(uri);
        for (probe, status, reason, challenge) in [
            (probe("/any"), 401, "no_credential", Some("Bearer realm=\"portcullis\"")),
            (probe("/write"), 401, "no_credential", Some("Bearer realm=\"portcullis\"")),
            (
                probe("/any").header("Authorization", "Basic eDp5"),
                401,
                "no_credential",
                Some("Bearer realm=\"portcullis\""),
            ),
            (
                probe("/any").bearer("x"),
                401,
                "malformed_token",
                Some("Bearer realm=\"portcullis\", error=\"invalid_token\""),
            ),
            (
                probe("/any").bearer(&forged),
                401,
                "bad_signature",
                Some("Bearer realm=\"portcullis\", error=\"invalid_token\""),
            ),
            (
                probe("/any").bearer(""),
                401,
                "malformed_credential",
                Some("Bearer realm=\"portcullis\", error=\"invalid_token\""),
            ),
            (
                probe("/any").bearer(&expired),
                401,
                "expired",
                Some(
                    "Bearer realm=\"portcullis\", error=\"invalid_token\", error_description=\"the token has expired\"",
                ),
            ),
            (
                probe("/read").bearer(&scoped),
                403,
                "missing_scope",
                Some("Bearer realm=\"portcullis\", error=\"insufficient_scope\", scope=\"read\""),
            ),
            (
                probe("/write").bearer(&scoped),
                403,
                "missing_scope",
                Some("Bearer realm=\"portcullis\", error=\"insufficient_scope\", scope=\"read write\""),
            ),
            (probe("/admin").bearer(&scoped), 403, "missing_role", None),
            (probe("/tenant").bearer(&scoped), 403, "claim_mismatch", None),
        ] {
            let answer = probe.ask(&gate).await;
            answer.expect(status, reason);
            assert_eq!(answer.header("www-authenticate"), challenge, "{answer:#?}");
            assert_eq!(answer.response.header_all("www-authenticate").len(), usize::from(challenge.is_some()));
        }
    }
}

#[tokio::test]
async fn t_f1_a_token_that_is_remembered_still_meets_every_rules_demands() {
    for megabytes in [64, 0] {
        let gate =
            Gate::start(&Config::with_policy(POLICY).edit(
                "\nshutdown:",
                &format!("\nstores: {{verified_tokens: {{max_mebibytes: {megabytes}}}}}\nshutdown:"),
            ));
        let reader = claiming(json!({"scope": "read", "sub": format!("reader-{megabytes}")}));
        let writer = claiming(json!({"scope": "read write", "tenant": "acme", "roles": ["admin"]}));
        let name = format!("reader-{megabytes}");
        for _ in 0..2 {
            together(BOTH.iter().map(async |dialect| {
                let ask = async |step: Step, uri: &str, token: &str| {
                    Probe::new(*dialect).step(step).uri(uri).bearer(token).ask(&gate).await
                };
                for step in [Step::Validate, Step::Authz] {
                    ask(step, "/read", &reader).await.expect(200, "allowed");
                    ask(step, "/write", &reader).await.expect(403, "missing_scope");
                    ask(step, "/admin", &reader).await.expect(403, "missing_role");
                    ask(step, "/tenant", &reader).await.expect(403, "claim_mismatch");
                    ask(step, "/read", &reader).await.expect(200, "allowed");
                    for uri in ["/write", "/admin", "/tenant", "/any"] {
                        ask(step, uri, &writer).await.expect(200, "allowed");
                    }
                }
                let answer = ask(Step::Authn, "/write", &reader).await;
                answer.expect(200, "allowed");
                assert_eq!(said(&answer, "x-user-id"), Some(&*name));
                // A remembered token lends nothing to one that merely begins like it.
                let shorter = &reader[..reader.len() - 1];
                let other = if reader.ends_with('A') { "Q" } else { "A" };
                ask(Step::Validate, "/read", &format!("{shorter}{other}")).await.expect(401, "bad_signature");
                ask(Step::Validate, "/read", shorter).await.expect(401, "bad_signature");
            }))
            .await;
        }
    }
}

#[tokio::test]
async fn t_f1_a_remembered_token_ends_with_its_exp() {
    let gate = Gate::start(
        &Config::with_policy(POLICY).edit("    audiences: [shop]\n", "    audiences: [shop]\n    leeway: 0s\n"),
    );
    let end = now() + 2;
    let short = claiming(json!({"exp": end, "sub": "short"}));
    let long = claiming(json!({"sub": "long"}));
    ask(&gate, &short).await.expect(200, "allowed");
    ask(&gate, &long).await.expect(200, "allowed");
    let deadline = Instant::now() + Duration::from_secs(10);
    let refused = loop {
        let before = now();
        let answer = ask(&gate, &short).await;
        if answer.status() != 200 {
            break answer;
        }
        assert!(before < end, "it passed after its end: {answer:#?}");
        assert!(Instant::now() < deadline, "it never ends");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    refused.expect(401, "expired");
    assert!(now() >= end, "it was refused before its end");
    for dialect in BOTH {
        Probe::new(dialect).uri("/any").bearer(&short).ask(&gate).await.expect(401, "expired");
    }
    ask(&gate, &long).await.expect(200, "allowed");
}

#[tokio::test]
async fn t_f2_a_remembered_token_is_its_issuers() {
    // Two issuers share one key. What one of them has proven proves nothing about the other.
    let issuers = format!(
        "  - {{name: one, issuer: '{ISSUER}', audiences: [shop], keys: {{jwks_file: jwks.json}}}}\n  - {{name: two, issuer: two, audiences: [other], keys: {{jwks_file: jwks.json}}}}\n"
    );
    let gate = Gate::start(&config(&issuers));
    for _ in 0..2 {
        for (changes, status, reason, issuer) in [
            (json!({}), 200, "allowed", Some("one")),
            (json!({"iss": "two", "aud": "other"}), 200, "allowed", Some("two")),
            (json!({"iss": "two"}), 401, "wrong_audience", None),
            (json!({"aud": "other"}), 401, "wrong_audience", None),
        ] {
            let answer = ask(&gate, &claiming(changes)).await;
            answer.expect(status, reason);
            assert_eq!(answer.audit["issuer"].as_str(), issuer, "{answer:#?}");
        }
    }
}
