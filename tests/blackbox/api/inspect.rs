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
