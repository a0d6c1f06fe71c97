//! `portcullis revoke` and `portcullis revocations`, which people and scripts use.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use super::*;
use crate::support::gate::PROGRAM;
use crate::support::wire::put_certificates;

/// Runs the program beside the gate's files: its exit code, and what it prints in both places.
fn run(gate: &Gate, words: &[&str], stdin: &str) -> (i32, String, String) {
    let mut command = Command::new(PROGRAM);
    command.current_dir(gate.folder()).args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program runs");
    child.stdin.take().expect("piped").write_all(stdin.as_bytes()).expect("it listens");
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

#[tokio::test]
async fn the_commands_revoke_list_and_take_back() {
    let gate = ready(&in_memory()).await;
    let url = format!("http://{}", gate.admin());
    let at = ["--admin", &*url, "--token-file", "admin.token"];
    let good = |words: &[&str], stdin: &str| {
        let (code, out, err) = run(&gate, &[words, &at].concat(), stdin);
        assert_eq!((code, &*err), (0, ""), "{words:?}");
        out
    };
    let (jti, sid) = (token(json!({"jti": "t", "sub": "a"})), token(json!({"sid": "s", "sub": "b"})));
    let (sub, whole) = (token(json!({"sub": "c"})), token(json!({"jti": "w", "sub": "d"})));
    for token in [&jti, &sid, &sub, &whole] {
        ask(&gate, token).await.expect(200, "allowed");
    }
    good(&["revoke", "--jti", "t", "--for", "2h", "--reason", "lost"], "");
    good(&["revoke", "--sid", "s", "--issuer", "shop"], "");
    good(&["revoke", "--subject", "c", "--issued-before", &crate::support::gate::now().to_string()], "");
    let printed = good(&["revoke", "--stdin"], &format!("{whole}\n"));
    assert!(printed.contains("\"jti\":\"w\"") && !printed.contains(&whole));
    for token in [&jti, &sid, &sub, &whole] {
        ask(&gate, token).await.expect(401, "revoked");
    }
    let listed: Vec<Value> =
        good(&["revocations", "list"], "").lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(json!(listed), admin(&gate, "GET", "/revocations", "").await.json()["revocations"]);
    assert_eq!((listed.len(), &listed[0]["reason"]), (4, &json!("lost")));
    assert_eq!(good(&["revocations", "list", "--subject", "c", "--issuer", "shop"], "").lines().count(), 1);
    for odd in ["-x", "--jti", "-"] {
        let printed = good(&["revoke", "--jti", odd, "--for", "1h"], "");
        assert!(printed.contains(&format!("\"jti\":\"{odd}\"")), "{printed}");
    }
    good(&["revocations", "remove", listed[0]["id"].as_str().expect("an id")], "");
    ask(&gate, &jti).await.expect(200, "allowed");
}

#[tokio::test]
async fn what_does_not_work_is_said_and_nothing_is_sent_to_strangers() {
    let gate = ready(&in_memory()).await;
    fs::write(gate.folder().join("wrong.token"), "0".repeat(32)).expect("written");
    let url = format!("http://{}", gate.admin());
    let revoke = ["revoke", "--jti", "t"];
    for (words, code, wanted) in [
        (
            vec!["--admin", &url, "--token-file", "wrong.token"],
            1,
            "answers 401 Unauthorized: what is shown is not the token",
        ),
        (vec!["--admin", &url, "--token-file", "nowhere"], 1, "nowhere cannot be read"),
        (vec!["--admin", "http://192.0.2.1:7401", "--token-file", "admin.token"], 1, "is not https"),
        (vec!["--admin", "http://localhost.example:7401", "--token-file", "admin.token"], 1, "is not https"),
        (
            vec!["--admin", &url, "--token-file", "admin.token", "--issuer", "x"],
            1,
            "400 Bad Request: no issuer has this name: write one of `shop`",
        ),
        (
            vec!["--admin", "http://127.0.0.1:1", "--token-file", "admin.token"],
            1,
            "refused (os error 111); name its admin listener with --admin",
        ),
        (vec!["--admin", &url], 2, "--token-file"),
        (vec!["--admin", &url, "--token-file", "admin.token", "--sid", "s"], 2, "cannot be used with"),
    ] {
        let (got, _, err) = run(&gate, &[&revoke[..], &words].concat(), "");
        assert_eq!((got, err.contains(wanted), err.contains(ADMIN)), (code, true, false), "{err}");
    }
    let at = ["--admin", &*url, "--token-file", "admin.token"];
    for never in ["inf", "-inf", "nan", "1e999", "soon"] {
        let words = ["revoke", "--subject", "alice", &format!("--issued-before={never}")];
        let (code, _, err) = run(&gate, &[&words[..], &at].concat(), "");
        assert_eq!((code, err.contains("write seconds since 1970")), (2, true), "{never}: {err}");
    }
    assert_eq!(admin(&gate, "GET", "/revocations", "").await.json()["revocations"], json!([]));
    let (code, _, err) = run(&gate, &[&["revocations", "remove", "x"][..], &at].concat(), "");
    assert_eq!((code, err.contains("there is no such revocation")), (1, true), "{err}");
    let off = Gate::shop();
    let url = format!("http://{}", off.admin());
    let (code, _, err) = run(&gate, &[&revoke[..], &["--admin", &url, "--token-file", "admin.token"]].concat(), "");
    assert_eq!((code, err.contains("revoking a section `revocations`")), (1, true), "{err}");
}

#[tokio::test]
async fn over_tls_only_the_named_authority_is_believed() {
    let files = "tls: {certificate_file: gate/tls.crt, key_file: gate/tls.key}";
    let config = in_memory().edit("    token_file: admin.token", &format!("    token_file: admin.token\n    {files}"));
    let folder = tempfile::TempDir::new().expect("a folder");
    put_certificates("gate", &folder.path().join("gate"));
    put_certificates("stranger", &folder.path().join("stranger"));
    let absolute = format!("{}/gate/", folder.path().display());
    let gate = Gate::start(
        &config.edit("gate/tls.crt", &format!("{absolute}tls.crt")).edit("gate/tls.key", &format!("{absolute}tls.key")),
    );
    let url = format!("https://{}", gate.admin());
    let ask = |authority: &str| {
        let ca = folder.path().join(authority).join("ca.crt");
        let ca = ca.to_str().expect("text").to_owned();
        run(&gate, &["revoke", "--jti", "t", "--admin", &url, "--token-file", "admin.token", "--ca-file", &ca], "")
    };
    let (code, _, err) = ask("stranger");
    assert_eq!((code, err.contains("certificate") && err.contains("--ca-file must hold")), (1, true), "{err}");
    assert_eq!(ask("gate").0, 0);
    let at = ["--admin", &*url, "--token-file", "admin.token"];
    let (code, _, err) = run(&gate, &[&["revocations", "list"][..], &at].concat(), "");
    assert_eq!((code, err.contains("with --ca-file")), (1, true), "{err}");
}
