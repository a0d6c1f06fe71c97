//! `portcullis explain`, `test` and `replay`: what they say is what the gate does.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::support::gate::{Config, Gate, KEY, PROGRAM, claims, token};
use crate::support::raw::{self, Response};
use crate::support::signer::Signer;

/// The token of the admin listener.
pub(super) const ADMIN: &str = "0123456789abcdef0123456789abcdef";

/// Asks the admin listener for an explanation.
pub(super) async fn explained(gate: &Gate, asked: &Value) -> Response {
    let bearer = format!("Bearer {ADMIN}");
    let body = asked.to_string();
    let request = raw::request("POST", "/explain", &[("Authorization", &bearer)], body.as_bytes());
    raw::send(gate.admin(), request).await
}

fn portcullis(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(PROGRAM).current_dir(folder).args(arguments).output().expect("the program runs")
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn complaint(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

fn example(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/shop").join(name)).expect("a sample file")
}

/// The shop with a token for the admin listener.
fn administrated() -> Config {
    let address = "  admin:\n    address: 127.0.0.1:0";
    Config::shop().file("admin.token", ADMIN).edit(address, &format!("{address}\n    token_file: admin.token"))
}

#[tokio::test]
async fn the_explanation_is_the_gates_decision_with_good_and_bad_credentials() {
    let gate = Gate::start(&administrated());
    let folder = gate.folder();
    let stranger = Signer::new("test", "EdDSA").token(&claims(json!({})));
    let tokens = [
        ("alice", token("alice", &["user"])),
        ("root", token("root", &["admin"])),
        ("expired", KEY.token(&claims(json!({"exp": 1_000_000})))),
        ("stranger", stranger),
        ("opaque", "opaque".to_owned()),
    ];
    for (name, token) in &tokens {
        fs::write(folder.join(name), format!("{token}\n")).expect("a file");
    }
    for uri in ["/", "/products", "/products/admin/x", "/orders/7?x=1", "/nowhere", "/a/../b", "/api/service-a"] {
        for (name, token) in &tokens {
            let bearer = format!("Bearer {token}");
            let answer = gate.ask("GET", uri, &[("Authorization", &bearer)]).await;
            let url = format!("https://shop.localhost{uri}");
            let asked = explained(&gate, &json!({"url": url, "token": token})).await.json();
            let arguments = ["explain", "--config", "portcullis.yaml", "--url", &url, "--token-file", name, "--json"];
            let output = portcullis(&folder, &arguments);
            let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
            assert_eq!(told, asked, "the command and the running gate");
            let keys = ["decision", "reason", "rule", "subject", "issuer", "status"];
            assert_eq!(keys.map(|key| &told[key]), keys.map(|key| &answer.audit[key]), "{name} {uri}: {told:#}");
            let is_allowed = answer.status() == 200;
            assert_eq!(output.status.code(), Some(i32::from(!is_allowed)));
            for (header, value) in told["headers"].as_object().expect("headers") {
                assert_eq!(answer.header(header), value.as_str(), "{header} of {name} {uri}");
            }
            let all = format!("{}{asked}{}", text(&output), complaint(&output));
            assert!(token.len() < 20 || !all.contains(&token[token.len() - 20..]), "a signature is shown");
        }
    }
}

#[tokio::test]
async fn explanations_are_for_who_shows_the_token_and_asks_well() {
    let gate = Gate::start(&administrated());
    let bare = raw::request("POST", "/explain", &[], b"{\"url\": \"https://shop.localhost/\"}");
    assert_eq!(raw::send(gate.admin(), bare).await.status, 401);
    for (asked, wanted) in [
        (json!({"url": "/products"}), "write https://HOST/PATH"),
        (json!({"url": "https://h/", "nam": 1}), "unknown field `nam`"),
        (
            json!({"url": "https://h/", "headers": {"X-Forwarded-Uri": ["/x"]}}),
            "no decision looks at a header `X-Forwarded-Uri`",
        ),
        (json!({"url": "https://h/", "client": "nowhere"}), "the body cannot be read"),
    ] {
        let answer = explained(&gate, &asked).await;
        assert!(answer.status == 400 && answer.text().contains(wanted), "{answer:?}");
    }
    // Without a token there is no such endpoint.
    let open = Gate::shop();
    assert_eq!(explained(&open, &json!({"url": "https://shop.localhost/"})).await.status, 404);
    // What is asked is in no log.
    assert!(!gate.log().contains("shop.localhost/"), "{}", gate.log());
}

#[test]
fn demands_are_told_one_by_one_and_not_where_nobody_asked_them() {
    let policy = "rules:
  - id: both
    hosts: [shop.localhost]
    paths: [/x]
    allow:
      any:
        - roles: {any: [admin]}
        - {scopes: {all: [read]}, networks: [10.0.0.0/8]}
      not: {claims: [{claim: dept, equals: temp}]}
";
    let folder = Config::with_policy(policy).file("token", &token("alice", &["user"])).write();
    let explain = |more: &[&str]| {
        let url = ["explain", "--config", "portcullis.yaml", "--url", "https://shop.localhost/x"];
        text(&portcullis(folder.path(), &[&url[..], more].concat()))
    };
    let known = explain(&["--token-file", "token", "--client", "10.0.0.1"]);
    for line in [
        "demands\n  not met    any of - missing_role\n    not met    roles: any of admin - missing_role\n",
        "\n      not met    scopes: all of read - missing_scope\n      met        networks: 10.0.0.0/8\n",
        "\n  met        not\n    not met    claim dept equals \"temp\" - claim_mismatch\n",
        "\ndecision  deny 403 missing_role - ",
    ] {
        assert!(known.contains(line), "{line}{known}");
    }
    let nobody = explain(&[]);
    assert!(nobody.contains("  not asked  any of\n    not asked  roles"), "{nobody}");
    assert!(nobody.contains("\n  www-authenticate: Bearer realm=\"portcullis\"\n"), "{nobody}");
    let cookie = format!("Cookie: jwt={}", token("bob", &["admin"]));
    assert!(explain(&["--header", &cookie]).contains("\nasker     bob, by shop\ndecision  allow 200 allowed - "));
}

/// What is revoked the command does not know; that refuses nobody, and is said.
#[test]
fn with_revocations_the_command_says_what_it_does_not_know() {
    let config = administrated().file("token", &token("alice", &["user"]));
    let settings = format!("{}\nrevocations: {{store: {{danger_memory: true}}}}\n", config.settings);
    let folder = Config { settings, ..config }.write();
    let url = "https://shop.localhost/orders";
    let arguments = ["explain", "--config", "portcullis.yaml", "--url", url, "--token-file", "token"];
    let output = portcullis(folder.path(), &arguments);
    assert!(output.status.success(), "{output:?}");
    assert!(complaint(&output).contains("what is revoked only the running gate knows"), "{output:?}");
}

#[test]
fn a_case_that_differs_is_1_and_a_file_that_cannot_be_used_is_64() {
    let cases = example("policy-tests.yaml");
    let run = |cases: &str| {
        let folder = Config::shop().file("cases.yaml", cases).write();
        let output = portcullis(folder.path(), &["test", "cases.yaml"]);
        (output.status.code(), text(&output), complaint(&output))
    };
    let place = |cases: &str, what: &str, before: &str| {
        let (row, line) = cases.lines().enumerate().find(|(_, line)| line.contains(what)).expect("it is there");
        format!("cases.yaml:{}:{}: ", row + 1, line.find(before).expect("it is there") + 1)
    };
    let case = "name: users see orders";
    let wrong = cases.replace("rule: orders}", "rule: buy, headers: {X-User-Tier: pro}}");
    let (code, printed, _) = run(&wrong);
    let wanted = format!(
        "{}users see orders\n  GET https://shop.localhost/orders/7 from 192.0.2.1\n    rule         expected buy\n                 \
         got      orders\n    X-User-Tier  expected pro\n                 got      free\ncases.yaml: 15 cases, 1 not as expected\n",
        place(&wrong, case, "name")
    );
    assert!(code == Some(1) && printed.starts_with(&wanted), "{printed}\n{wanted}");

    let missing = cases.replace("/api/service-a", "/orders").replace("rule: service-a", "rule: orders");
    let missing = missing.replace("sub: importer", "sub: importer, roles: [user]");
    let (code, printed, _) = run(&missing);
    assert!(code == Some(0) && printed.contains("rules: 7, of which no case touches service-a\n"), "{printed}");

    for (from, to, at, before, wanted) in [
        ("rule: orders}", "rule: order}", "rule: order}", "order}", "the policy has no rule `order`; "),
        ("decision: allow, rule: orders", "decision: maybe", "maybe", "maybe", "is `maybe`; "),
        (
            "reason: missing_role, rule: buy",
            "reason: bad_mood",
            "bad_mood",
            "bad_mood",
            "`bad_mood` is no reason to deny; ",
        ),
        (
            "url: \"https://shop.localhost/orders/7\"}",
            "url: orders}",
            "url: orders",
            "{url",
            "it cannot be asked: the URL is none: write https://HOST/PATH; ",
        ),
        (case, "nam: x", "nam: x", "nam", "unknown key `nam`; did you mean `name`?"),
        (case, "{case}\n    issuer: nowhere", "nowhere", "nowhere", "the settings have no issuer `nowhere`; "),
        (case, "{case}\n    at: soon", "at: soon", "soon", "`soon` is no moment; "),
        ("{sub: importer}", "{roles: [x]}", "{roles: [x]}", "{roles", "they name no subject; "),
    ] {
        let broken = cases.replacen(from, &to.replace("{case}", case), 1);
        let (code, printed, complaint) = run(&broken);
        let place = place(&broken, at, before);
        assert_eq!((code, printed.as_str()), (Some(64), ""), "{complaint}");
        assert!(
            complaint.lines().any(|line| line.starts_with(&place) && line.contains(wanted)),
            "{place}{wanted}\n{complaint}"
        );
    }
    let both = cases.replacen("    anonymous: true\n", "    anonymous: true\n    claims: {sub: x}\n", 1);
    assert!(run(&both).2.contains("is not said once"), "either claims or nobody");
    assert_eq!(run("cases: []").0, Some(64));
    assert!(run("settings: nowhere.yaml\ncases: []").2.contains("nowhere.yaml: it cannot be read"));
}

/// Ends what the audit line is about: requests of which each is another case for a replay.
async fn recorded(principal: bool) -> Vec<Value> {
    let settings = format!("{}\naudit: {{principal: {principal}}}\n", Config::shop().settings);
    let gate = Gate::start(&Config { settings, ..Config::shop() });
    let alice = format!("Bearer {}", token("alice", &["user"]));
    let root = format!("Bearer {}", token("root", &["admin"]));
    let guest = format!("Bearer {}", token("gast", &["guest"]));
    let expired = format!("Bearer {}", KEY.token(&claims(json!({"exp": 1_000_000}))));
    for (method, uri, bearer) in [
        ("GET", "/orders/7", Some(&alice)),
        ("GET", "/orders/7", Some(&root)),
        ("POST", "/products/7/buy", Some(&guest)),
        ("GET", "/products/7", None),
        ("GET", "/products/caf%C3%A9", Some(&alice)),
        ("GET", "/orders/8", Some(&expired)),
        ("GET", "/products/../orders", Some(&alice)),
    ] {
        let headers: Vec<_> = bearer.iter().map(|bearer| ("Authorization", bearer.as_str())).collect();
        gate.ask(method, uri, &headers).await;
    }
    let mut lines = gate.audit();
    for (second, line) in lines.iter_mut().enumerate() {
        line["time"] = format!("2025-11-20T12:00:0{second}.000000Z").into();
    }
    lines
}

fn jsonl(lines: &[Value]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// The shop's policy, in which orders are for admins and guests may buy.
fn candidate() -> String {
    let policy = example("policy.yaml");
    let (buy, orders) = (
        "methods: [POST]\n    allow:\n      roles: {any: [user, admin]}",
        "[\"/orders/**\"]\n    allow:\n      roles: {any: [user, admin]}",
    );
    assert!(policy.contains(buy) && policy.contains(orders), "the shop's policy has changed");
    let policy = policy.replace(buy, &buy.replace("[user, admin]", "[user, admin, guest]"));
    policy.replace(orders, &orders.replace("[user, admin]", "[admin]"))
}

#[tokio::test]
async fn the_audit_line_holds_what_demands_look_at_only_if_it_is_wanted() {
    let plain = recorded(false).await;
    assert!(plain.iter().all(|line| line.get("principal").is_none() && line.get("rule_set").is_none()), "{plain:#?}");
    let full = recorded(true).await;
    let none = json!({"roles": ["user"], "groups": [], "scopes": [], "tier": null, "claims": {}});
    assert_eq!(full[0]["principal"], none);
    assert_eq!(full[3].get("principal"), None, "nobody is no principal");
}

#[tokio::test]
async fn a_replay_says_what_would_change_and_what_nobody_can_tell() {
    let config = Config::shop().file("candidate.yaml", &candidate());
    let replay = |lines: String, policy: &str| {
        let folder = config.clone().file("audit.jsonl", &lines).write();
        let arguments = ["replay", "--log", "audit.jsonl", "--config", "portcullis.yaml", "--policy", policy];
        let output = portcullis(folder.path(), &arguments);
        (output.status.code(), text(&output), complaint(&output))
    };
    let (full, plain) = (jsonl(&recorded(true).await), jsonl(&recorded(false).await));
    let (code, text, _) = replay(full.clone(), "candidate.yaml");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.ends_with("7 lines: 2 change (1 allow -> deny, 1 deny -> allow), 5 stay, 0 unknown\n"), "{text}");
    let (code, text, _) = replay(full.clone(), "policy.yaml");
    assert_eq!((code, &*text), (Some(0), "7 lines: 0 change (0 allow -> deny, 0 deny -> allow), 7 stay, 0 unknown\n"));
    let (code, text, _) = replay(plain.clone(), "policy.yaml");
    assert!(code == Some(0) && text.contains("3 by the rule alone"), "{text}");
    let (code, text, _) = replay(format!("{plain}no JSON\n"), "candidate.yaml");
    let unknown = "unknown, 1: buy -> buy: roles, groups, scopes and claims were not recorded (audit.principal)\n\
                   unknown, 2: orders -> orders: roles, groups, scopes and claims were not recorded (audit.principal)\n";
    assert!(code == Some(0) && text.contains(" 4 stay, 3 unknown\n") && text.contains(unknown), "{text}");
    assert!(text.ends_with("no audit lines: 1, the first is line 8\n"), "{text}");
    for (lines, policy, wanted) in [
        ("no JSON\n".to_owned(), "candidate.yaml", "it holds no audit line"),
        (full, "nowhere.yaml", "nowhere.yaml: it cannot be read"),
        (String::new(), "candidate.yaml", "it holds no audit line"),
    ] {
        let (code, text, complaint) = replay(lines, policy);
        assert!(code == Some(64) && text.is_empty() && complaint.contains(wanted), "{complaint}");
    }
}

/// The transcripts of the README: every command of its section is run, and prints what is shown.
#[tokio::test]
async fn the_readme_shows_what_is_printed() {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("the README");
    let section = readme.split("\n## Testing a policy\n").nth(1).expect("a section").split("\n## ").next().unwrap();
    let mut lines = recorded(true).await;
    // One of a gate that does not record who asks.
    lines[1].as_object_mut().unwrap().remove("principal");
    let folder = Config::limited_shop()
        .file("policy-tests.yaml", &example("policy-tests.yaml"))
        .file("alice.token", &token("alice", &["user"]))
        .file("candidate.yaml", &candidate())
        .file("audit.jsonl", &jsonl(&lines))
        .write();
    let mut run = Vec::new();
    for block in section.split("```\n").skip(1).step_by(2).filter(|block| block.starts_with("$ ")) {
        let (command, shown) = block.split_once('\n').expect("what it prints");
        let arguments: Vec<&str> = command.strip_prefix("$ portcullis ").expect("a command").split(' ').collect();
        let output = portcullis(folder.path(), &arguments);
        assert_eq!(text(&output), shown, "{command}\n{}", complaint(&output));
        run.push(arguments[0].to_owned());
    }
    assert_eq!(run, ["explain", "test", "replay"]);
}
