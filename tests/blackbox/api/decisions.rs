//! The corpus of decisions: the same cases in process, behind every dialect with really signed tokens, and explained.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use portcullis::config::document::Document;
use serde_json::{Value, json};

use super::policy::{ADMIN, explained};
use super::probe::{DIALECTS, Probe, absent, said, together};
use crate::support::gate::{Config, Gate, KEY, PROGRAM, now};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/decisions")
}

fn files() -> Vec<PathBuf> {
    let entries = fs::read_dir(folder()).expect("the corpus").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<_> = entries.filter(|path| path.is_file()).collect();
    files.sort();
    files
}

/// A credential with the claims of a case, as its issuer would sign it.
fn token(case: &Value) -> Option<String> {
    let issuer = match case["issuer"].as_str() {
        None => return None,
        Some("shop") => "https://id.shop.localhost",
        Some("realm") => "https://id.localhost/realms/corpus",
        Some("people") => "https://people.localhost/",
        Some(other) => panic!("the corpus has no issuer {other}"),
    };
    let mut claims = json!({"iss": issuer, "aud": ["shop"], "iat": now(), "exp": now() + 300, "typ": "Bearer"});
    claims.as_object_mut().unwrap().extend(case["claims"].as_object().expect("claims").clone());
    Some(KEY.token(&claims))
}

#[test]
fn every_case_holds_in_process_and_every_rule_is_touched() {
    let output = Command::new(PROGRAM).arg("test").args(files()).output().expect("the program runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("each touched by a case"), "{text}{output:?}");
}

#[tokio::test]
async fn every_case_holds_behind_every_dialect_and_explained() {
    let read = |name: &str| fs::read_to_string(folder().join("gate").join(name)).expect("a file of the corpus");
    let config = Config { settings: read("portcullis.yaml"), policy: read("policy.yaml"), ..Config::shop() };
    let config = config
        .edit("127.0.0.1:7400", "127.0.0.1:0")
        .edit("{address: 127.0.0.1:7401}", "{address: 127.0.0.1:0, token_file: admin.token}")
        .file("admin.token", ADMIN);
    let gate = Gate::start(&config);
    let mut cases: Vec<Value> = Vec::new();
    for file in files() {
        let text = fs::read_to_string(&file).expect("a text");
        let read: Value = Document::parse(&file.display().to_string(), text).expect("YAML").read().expect("a tree");
        cases.extend(read["cases"].as_array().expect("cases").iter().cloned());
    }
    assert!(cases.len() >= 90, "the corpus has {} cases", cases.len());
    let gate = &gate;
    together(cases.iter().map(async |case| {
        let (request, expect, token) = (&case["request"], &case["expect"], token(case));
        let url = request["url"].as_str().expect("a URL");
        let (host, target) = url.strip_prefix("https://").expect("https").split_once('/').expect("a path");
        let method = request["method"].as_str().unwrap_or("GET");
        let client = request["client"].as_str().unwrap_or("192.0.2.1");
        for dialect in DIALECTS {
            let mut probe = Probe::new(dialect).method(method).host(host).uri(format!("/{target}"));
            probe = probe.instead("X-Forwarded-For", client);
            if let Some(set) = request["set"].as_str() {
                probe = probe.set(set);
            }
            for (name, line) in request["headers"].as_object().into_iter().flatten() {
                probe = probe.header(name, line.as_str().expect("a line"));
            }
            if let Some(token) = &token {
                // Both, so that a rule finds the kind that it takes.
                probe = probe.bearer(token).cookie(token);
            }
            let answer = probe.ask(gate).await;
            let about = format!("{} behind {dialect:?}: {answer:#?}", case["name"]);
            for key in ["decision", "reason", "rule"] {
                assert!(expect[key].is_null() || expect[key] == answer.audit[key], "{key} of {about}");
            }
            assert_eq!(answer.status() == 200, expect["decision"] == "allow", "{about}");
            assert_eq!(answer.audit["rule_set"], request["set"], "{about}");
            for (name, value) in expect["headers"].as_object().into_iter().flatten() {
                let wanted = Some(value.as_str().expect("a text")).filter(|value| !value.is_empty());
                assert_eq!(said(&answer, name), wanted.or(absent(dialect)), "{name} of {about}");
            }
        }
        let mut asked = json!({"url": url, "method": method, "client": client, "set": request["set"]});
        let own = request["headers"].as_object().into_iter().flatten();
        let own = own.map(|(name, line)| (name.clone(), json!([line])));
        let cookie = token.iter().map(|token| ("Cookie".to_owned(), json!([format!("jwt={token}")])));
        asked["headers"] = own.chain(cookie).collect();
        asked["token"] = token.into();
        let told = explained(gate, &asked).await.json();
        for key in ["decision", "reason", "rule", "status"] {
            assert!(
                expect[key].is_null() || expect[key] == told[key],
                "{key} of {}, explained: {told:#}",
                case["name"]
            );
        }
        let applies = told["rules"].as_array().expect("rules").iter().filter(|rule| rule["applies"] == true);
        assert!(applies.into_iter().all(|rule| rule["rule"] == told["rule"]), "{told:#}");
    }))
    .await;
}
