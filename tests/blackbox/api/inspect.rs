//! `portcullis token inspect`: what it prints is what the gate does, and nothing that it prints is dangerous.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::support::gate::{Config, Gate, ISSUER, KEY, PROGRAM, claims, now};
use crate::support::signer::Signer;

/// Inspects `token` by the configuration in `folder`.
pub(crate) fn inspect(folder: &Path, token: &str, arguments: &[&str]) -> Output {
    let mut program = Command::new(PROGRAM);
    program.args(["token", "inspect", "--config"]).arg(folder.join("portcullis.yaml")).args(arguments);
    program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = program.spawn().expect("the program runs");
    // It may end before it has read all, as with settings that are wrong.
    child.stdin.take().expect("piped").write_all(token.as_bytes()).ok();
    child.wait_with_output().expect("output")
}

fn told(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON: {output:?}"))
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

#[tokio::test]
async fn the_verdict_is_the_gates_and_the_checks_end_where_it_ends() {
    let stranger = Signer::new("test", "EdDSA");
    let unknown = Signer::new("other", "EdDSA");
    let good = |changes: Value| KEY.token(&claims(changes));
    let headed = |changes: Value| {
        let mut header = KEY.header();
        header.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        KEY.sign(&header, &claims(json!({})))
    };
    let table = [
        (good(json!({})), "good", None),
        ("opaque".to_owned(), "malformed_token", Some("form")),
        ("a.b.c.d.e".to_owned(), "malformed_token", Some("form")),
        (format!("{}x", "e30.".repeat(5000)), "token_too_large", Some("form")),
        (headed(json!({"crit": ["b64"]})), "critical_header", Some("form")),
        (good(json!({"iss": "https://elsewhere"})), "unknown_issuer", Some("issuer")),
        (good(json!({"iss": null})), "unknown_issuer", Some("issuer")),
        (headed(json!({"typ": "logout+jwt"})), "wrong_type", Some("type")),
        (headed(json!({"typ": 1})), "malformed_token", Some("type")),
        (headed(json!({"alg": "none"})), "algorithm_not_allowed", Some("key")),
        (headed(json!({"alg": "RS256"})), "algorithm_not_allowed", Some("key")),
        (unknown.token(&claims(json!({}))), "unknown_key", Some("key")),
        (stranger.token(&claims(json!({}))), "bad_signature", Some("signature")),
        (good(json!({"nonce": "n"})), "wrong_kind", Some("kind")),
        (good(json!({"cnf": {"jkt": "k"}})), "sender_constrained", Some("binding")),
        (good(json!({"exp": 1_000_000})), "expired", Some("lifetime")),
        (good(json!({"exp": null})), "no_expiry", Some("lifetime")),
        (good(json!({"exp": now() + 1_000_000_000})), "lifetime_too_long", Some("lifetime")),
        (good(json!({"aud": "another"})), "wrong_audience", Some("audience")),
        (good(json!({"sub": null})), "no_subject", Some("subject")),
    ];
    let gate = Gate::shop();
    for (token, verdict, failed) in table {
        let bearer = format!("Bearer {token}");
        let answer = gate.ask("GET", "/products", &[("Authorization", &bearer)]).await;
        answer.expect(if verdict == "good" { 200 } else { 401 }, if verdict == "good" { "allowed" } else { verdict });

        let output = inspect(&gate.folder(), &format!("  {token}\n"), &["--json"]);
        let told = told(&output);
        assert_eq!((told["verdict"].as_str(), output.status.success()), (Some(verdict), verdict == "good"), "{told}");
        assert_eq!(told["passes"], verdict == "good");
        assert!(output.status.success() || output.status.code() == Some(1), "{output:?}");
        let checks = told["checks"].as_array().unwrap();
        let at = checks.iter().position(|check| check["result"] == "failed");
        assert_eq!(at.map(|at| checks[at]["check"].as_str().unwrap()), failed, "{told}");
        let at = at.unwrap_or(checks.len());
        assert!(checks[..at].iter().all(|check| check["result"] == "ok"), "{told}");
        assert!(checks.iter().skip(at + 1).all(|check| check["result"] == "not_reached"), "{told}");

        let output = inspect(&gate.folder(), &token, &[]);
        let text = text(&output);
        assert!(text.lines().last().unwrap().starts_with(&format!("verdict: {verdict} - ")), "{text}");
        assert!(!text.contains('\x1b'), "no colours but on a terminal: {text}");
    }
}

#[test]
fn it_says_whose_the_token_is_and_never_gives_it_away() {
    let folder = Config::shop().write();
    let token = KEY.token(&claims(json!({})));
    let (_, signature) = token.rsplit_once('.').unwrap();
    for arguments in [&["--json"][..], &[]] {
        let output = inspect(folder.path(), &token, arguments);
        let all = [output.stdout, output.stderr].concat();
        assert!(!String::from_utf8_lossy(&all).contains(&signature[..8]), "the signature is printed");
    }
    let told = told(&inspect(folder.path(), &token, &["--json"]));
    assert_eq!((&told["issuer"], &told["signature_characters"]), (&json!("shop"), &json!(86)));
    assert_eq!(told["keys"], json!([{"kid": "test", "algorithms": "EdDSA"}]));
    assert_eq!((&told["header"], &told["claims"]["sub"]), (&KEY.header(), &json!("alice")));
    // The arguments of a process are for everybody to see.
    let output = inspect(folder.path(), "", &[&token]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(said.contains("from standard input") && !said.contains(&token[..20]), "{said}");
}

#[test]
fn what_only_its_issuer_can_judge_is_not_judged() {
    let asking = "jwks_file: jwks.json\n    introspection:\n      url: https://id.example.com/i\n      client_id: gate\n      \
                  client_secret_env: SECRET\n      about: [opaque, jwt]";
    let folder = Config::shop().edit("jwks_file: jwks.json", asking).file("secret", "x").write();
    let settings = fs::read_to_string(folder.path().join("portcullis.yaml")).unwrap();
    let settings = settings.replace("client_secret_env: SECRET", "client_secret_file: secret");
    fs::write(folder.path().join("portcullis.yaml"), settings).unwrap();
    for token in ["opaque".to_owned(), KEY.token(&claims(json!({})))] {
        let output = inspect(folder.path(), &token, &["--json"]);
        let told = told(&output);
        assert_eq!((&told["verdict"], &told["issuer"]), (&json!("not_judged"), &json!("shop")), "{told}");
        assert_eq!((&told["passes"], output.status.code()), (&json!(false), Some(1)));
        let asked = json!({"check": "asked", "result": "not_judged"});
        assert!(told["checks"].as_array().unwrap().contains(&asked), "{told}");
        let text = text(&inspect(folder.path(), &token, &[]));
        assert!(
            text.lines().last().unwrap().starts_with("verdict: not_judged - its issuer shop would have to be"),
            "{text}"
        );
        assert!(text.contains("not judged") && !text.contains("introspection_failed"), "{text}");
    }
    // An encrypted token would be shown to nobody.
    let jwe = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIn0..aXY.dGV4dA.dGFn";
    assert_eq!(told(&inspect(folder.path(), jwe, &["--json"]))["verdict"], "malformed_token");
}

#[test]
fn a_verdict_shows_what_was_compared() {
    let settings = Config::shop().edit("audiences: [shop]", "audiences: [shop]\n    authorized_parties: [web]");
    let folder = settings.write();
    let good = |changes: Value| KEY.token(&claims(changes));
    let mut header = KEY.header();
    header["typ"] = json!("x+jwt");
    let slash = if let Some(bare) = ISSUER.strip_suffix('/') { bare.to_owned() } else { format!("{ISSUER}/") };
    for (token, wanted) in [
        (String::new(), "nothing came on standard input".to_owned()),
        (format!("Bearer {}", good(json!({}))), "leave out the word `Bearer`".to_owned()),
        ("e30.k.i.c.t".to_owned(), "five parts are an encrypted token".to_owned()),
        (good(json!({"iss": "https://x"})), format!("`iss` is \"https://x\"; configured are [\"{ISSUER}\"]")),
        (good(json!({"iss": slash})), "only the slash at the end differs".to_owned()),
        (good(json!({"aud": ["a", "b"]})), "`aud` is [\"a\",\"b\"]; `audiences` are [\"shop\"]".to_owned()),
        (good(json!({"aud": null})), "`aud` is missing; `audiences`".to_owned()),
        (good(json!({"azp": "app"})), "`azp` is \"app\"; `authorized_parties` are [\"web\"]".to_owned()),
        (KEY.sign(&header, &claims(json!({}))), "`typ` is \"x+jwt\"; `types` are [\"jwt\",\"at+jwt\"]".to_owned()),
        (
            Signer::new("other", "EdDSA").token(&claims(json!({}))),
            "`kid` is \"other\"; the issuer's keys are [\"test\"]".to_owned(),
        ),
        (good(json!({"iat": "now"})), "`iat` is \"now\"".to_owned()),
        (good(json!({"aud": "\u{1b}[2J"})), "`aud` is \"\\u001b[2J\"".to_owned()),
    ] {
        let text = text(&inspect(folder.path(), &token, &[]));
        assert!(text.lines().last().unwrap().contains(&wanted), "{wanted}: {text}");
    }
    let old = good(json!({"iat": 1_763_640_000, "exp": 1_763_640_300, "azp": "web"}));
    for (at, verdict) in [
        ("1763640100", "good"),
        ("2025-11-20T12:04:59Z", "good"),
        ("2025-11-20T12:05:30Z", "expired"),
        ("1763639000", "issued_in_future"),
    ] {
        assert_eq!(told(&inspect(folder.path(), &old, &["--json", "--at", at]))["verdict"], verdict, "{at}");
    }
    assert_eq!(inspect(folder.path(), &old, &["--at", "yesterday"]).status.code(), Some(2));
}

#[test]
fn what_a_stranger_wrote_does_not_reach_the_terminal_as_he_wrote_it() {
    let folder = Config::shop().write();
    let evil = "\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}1m\r\u{202e}\u{2066}\u{200b}\u{7f}";
    let mut header = KEY.header();
    header[evil] = json!(evil);
    let token = KEY.sign(&header, &claims(json!({"iss": evil, evil: {"deep": [evil]}, "sub": evil})));
    for arguments in [&["--json"][..], &[]] {
        let text = text(&inspect(folder.path(), &token, arguments));
        let harmless = |c: char| matches!(c, '\n' | ' '..='~');
        assert!(text.contains("owned") && text.chars().all(harmless), "{text:?}");
    }
    let told = told(&inspect(folder.path(), &token, &["--json"]));
    assert_eq!((&told["claims"]["sub"], &told["header"][evil]), (&json!(evil), &json!(evil)), "escaped, not changed");
    // Neither what is no token at all.
    let output = inspect(folder.path(), evil, &[]);
    assert!(!output.stdout.contains(&0x1b) && output.status.code() == Some(1), "{output:?}");
}

#[test]
fn a_configuration_that_cannot_be_used_is_64() {
    let folder = Config::shop().edit("audiences: [shop]", "audiences: []").write();
    let output = inspect(folder.path(), &KEY.token(&claims(json!({}))), &[]);
    assert_eq!((output.status.code(), output.stdout.is_empty()), (Some(64), true), "{output:?}");
}

/// The transcript of the README, of a token that says the same and a key of the same name.
#[test]
fn the_readme_shows_what_is_printed() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("the README");
    let shown =
        readme.split("$ portcullis token inspect --config portcullis.yaml < token.txt\n").nth(1).expect("a transcript");
    let shown = shown.split("```").next().unwrap();
    let key = Signer::new("2025-11", "ES256");
    let jwks = json!({"keys": [key.jwk()]}).to_string();
    let folder = Config::shop().file("jwks.json", &jwks).write();
    let issued = 1_763_640_000;
    let claims =
        json!({"iss": ISSUER, "aud": ["shop"], "sub": "alice", "iat": issued, "exp": issued + 300, "roles": ["user"]});
    let output = inspect(folder.path(), &key.token(&claims), &[]);
    assert_eq!(text(&output), shown);
}
