//! Wrong configurations: each is refused before anything listens, with every mistake, its place, and what to write.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use super::probe::{BOTH, Probe};
use crate::support::gate::{Config, Gate, KEY, PROGRAM, claims, token};

/// What starts a line of the corpus that says what is printed.
const EXPECTED: &str = "#= ";

/// The shop with the files that the corpus names.
fn with_files() -> Config {
    let ed = KEY.jwk()["x"].as_str().expect("a key").to_owned();
    let unusable = json!({"keys": [
        {"kty": "oct", "kid": "shared", "k": "c2VjcmV0"},
        {"kty": "RSA", "kid": "small", "n": "w".repeat(86), "e": "AQAB"},
        {"kty": "OKP", "crv": "X25519", "kid": "exchange", "x": ed},
        {"kty": "OKP", "crv": "Ed25519", "use": "enc", "x": ed},
        {"kty": "EC", "crv": "P-256", "kid": "off", "x": "AQ", "y": "AQ"},
        7,
    ]});
    let pem = |what: &str| {
        format!(
            "-----BEGIN {what}-----\nMC4CAQAwBQYDK2VwBCIEIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n-----END {what}-----\n"
        )
    };
    let mut key = KEY.jwk();
    key["kid"] = json!("a");
    Config::shop()
        .file("jwks.json", &json!({"keys": [key]}).to_string())
        .file("empty.json", "")
        .file("none.json", "{\"keys\": []}")
        .file("unusable.json", &unusable.to_string())
        .file("public.pem", &KEY.pem())
        .file("private.pem", &pem("PRIVATE KEY"))
        .file("certificate.pem", &pem("CERTIFICATE"))
        .file("short.secret", "0123456789abcdef")
        .file("middling.secret", "0123456789abcdef0123456789abcdef")
        .file("folder/keep", "")
}

/// Each file is wrong in the way that its name says; its first lines are all that is printed about it.
#[test]
fn every_mistake_of_the_corpus_is_refused_in_its_own_words() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/configs");
    let mut names: Vec<_> =
        fs::read_dir(&folder).expect("the corpus").map(|entry| entry.expect("an entry").path()).collect();
    names.sort();
    assert!(names.len() >= 130, "the corpus has {} files", names.len());
    let judge = &|path: &Path| {
        let text = fs::read_to_string(path).expect("a text");
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let lines = text.lines().map_while(|line| line.strip_prefix(EXPECTED));
        let wanted: String = lines.map(|line| format!("{line}\n")).collect();
        assert!(!wanted.is_empty(), "{name} does not say what is expected");
        let config = match name.split_once('-').expect("settings- or policy-") {
            ("settings", _) => Config { settings: text, ..with_files() },
            ("policy", _) => Config { policy: text, ..with_files() },
            (other, _) => panic!("`{other}` is neither settings nor a policy"),
        };
        let wanted = (64, wanted);
        let (check, serve) = (config.check(), config.serve_fails());
        let wrong = check != wanted || serve != wanted;
        wrong.then(|| format!("{name}\nwanted {wanted:#?}\ncheck {check:#?}\nserve {serve:#?}"))
    };
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let names = &names;
        let share = move |first| names.iter().skip(first).step_by(4).filter_map(|path| judge(path)).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|first| scope.spawn(move || share(first))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), names.len(), wrong.join("\n\n"));
}

#[test]
fn mistakes_of_all_files_are_reported_at_once() {
    let config = Config::shop()
        .edit("127.0.0.0/8", "0.0.0.0/0")
        .edit("jwks_file: jwks.json", "jwks_file: nowhere.json")
        .edit("id: front-page", "id: Front Page")
        .edit("paths: [\"/orders/**\"]", "paths: [\"/orders/*\"]");
    let place = |text: &str, what: &str| {
        let (row, line) = text.lines().enumerate().find(|(_, line)| line.contains(what)).expect("it is there");
        format!("{}:{}", row + 1, line.find(what).expect("it is there") + 1)
    };
    let (settings, policy) = (&config.settings, &config.policy);
    let wanted = [
        format!("policy.yaml:{}: `Front Page` is no rule id; ", place(policy, "Front Page")),
        format!("policy.yaml:{}: `*` in `/orders/*` mixes text and wildcard; ", place(policy, "\"/orders/*\"")),
        format!("portcullis.yaml:{}: 0.0.0.0/0 holds strangers", place(settings, "[0.0.0.0/0")),
        format!("portcullis.yaml:{}: nowhere.json: it cannot be read", place(settings, "nowhere.json")),
    ];
    for (code, text) in [config.check(), config.serve_fails()] {
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((code, lines.len()), (64, wanted.len()), "{text}");
        for (line, begin) in lines.iter().zip(&wanted) {
            assert!(line.starts_with(begin), "{line} does not begin with {begin}");
        }
    }
}

#[test]
fn the_shipped_sample_is_good() {
    assert_eq!(Config::shop().check(), (0, "portcullis.yaml: good: 7 rules, 1 issuer\n".to_owned()));
}

#[test]
fn a_file_beside_the_settings_is_found_from_anywhere() {
    let folder = Config::shop().write();
    let run = |place: &Path, file: &str| {
        let output = Command::new(PROGRAM)
            .current_dir(place)
            .args(["check", "--config", file])
            .stdin(Stdio::null())
            .output()
            .expect("the program runs");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let name = folder.path().file_name().expect("a name").to_string_lossy().into_owned();
    for (place, file) in [
        (folder.path(), "portcullis.yaml"),
        (folder.path(), "./portcullis.yaml"),
        (folder.path().parent().expect("above"), &*format!("{name}/portcullis.yaml")),
    ] {
        assert_eq!(run(place, file), (Some(0), format!("{file}: good: 7 rules, 1 issuer\n")));
    }
}

#[test]
fn a_settings_file_that_cannot_be_read_is_a_mistake_of_configuration() {
    for (name, wanted) in
        [("nowhere.yaml", "it cannot be read: No such file or directory"), ("folder", "it is no regular file")]
    {
        let folder = Config::shop().file("folder/keep", "").write();
        for command in ["check", "serve"] {
            let output = Command::new(PROGRAM)
                .arg(command)
                .arg("--config")
                .arg(folder.path().join(name))
                .stdin(Stdio::null())
                .output()
                .expect("the program runs");
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!((output.status.code(), text.contains(wanted)), (Some(64), true), "{text}");
        }
    }
}

#[tokio::test]
async fn the_environment_wins_over_the_file_and_a_flag_over_both() {
    // An address that nobody here can have: who does not override it does not start.
    let foreign = || Config::shop().edit("  admin:\n    address: 127.0.0.1:0", "  admin:\n    address: 192.0.2.1:1");
    let (code, text) = foreign().serve_fails();
    assert_eq!((code, text.contains("the admin listener cannot have 192.0.2.1:1")), (1, true), "{text}");
    let gate = Gate::start(&foreign().env("PORTCULLIS__LISTENERS__ADMIN__ADDRESS", "127.0.0.1:0"));
    assert_eq!(gate.admin_get("/health").await.status, 200);
    let gate = Gate::start(
        &Config::shop().env("PORTCULLIS__LISTENERS__ADMIN__ADDRESS", "192.0.2.1:1").arg("--admin").arg("127.0.0.1:0"),
    );
    assert_eq!(gate.admin_get("/health").await.status, 200);
    let gate = Gate::start(&foreign().arg("--admin=127.0.0.1:0").arg("--decisions=127.0.0.1:0"));
    Probe::traefik().ask(&gate).await.expect(401, "no_credential");
    // A list, an element of a list, and a file that is named relative to the settings.
    let gate = Gate::start(
        &Config::shop()
            .env("PORTCULLIS__LISTENERS__DECISIONS__TRUSTED_PROXIES", "127.0.0.9/32, 10.0.0.0/8")
            .env("PORTCULLIS__ISSUERS__0__AUDIENCES", "other,others")
            .env("PORTCULLIS__CREDENTIALS__COOKIE_NAME", "session")
            .env("PORTCULLIS__POLICY", "wrong.yaml")
            .arg("--policy")
            .arg("second.yaml")
            .file("second.yaml", "rules: [{id: second, hosts: ['*'], paths: [/products], allow: authenticated}]"),
    );
    let shop = token("alice", &["user"]);
    let other = KEY.token(&claims(json!({"aud": "others"})));
    for dialect in BOTH {
        Probe::new(dialect).ask(&gate).await.expect(403, "untrusted_peer");
        for (probe, status, reason) in [
            (Probe::new(dialect).bearer(&shop), 401, "wrong_audience"),
            (Probe::new(dialect).bearer(&other), 200, "allowed"),
            (Probe::new(dialect).cookie(&other), 401, "no_credential"),
            (Probe::new(dialect).header("Cookie", format!("session={other}")), 200, "allowed"),
            (Probe::new(dialect).uri("/orders").bearer(&other), 403, "no_rule"),
        ] {
            let answer = gate.exchange_from([127, 0, 0, 9], &probe.bytes()).await;
            answer.expect(status, reason);
        }
    }
}

#[test]
fn what_the_environment_or_a_flag_gets_wrong_is_named() {
    for (name, value, line) in [
        ("PORTCULLIS__LISTENER__ADMIN__ADDRESS", "127.0.0.1:1", "unknown key `listener`; did you mean `listeners`?"),
        ("PORTCULLIS__LISTENERS__ADMIN__ADDRES", "127.0.0.1:1", "unknown key `addres`; did you mean `address`?"),
        (
            "PORTCULLIS__LISTENERS__DECISIONS__WORKERS",
            "many",
            "`workers` is the text \"many\"; write a whole number, 0 or more",
        ),
        (
            "PORTCULLIS__LISTENERS__ADMIN__DANGER_FAULT_ENDPOINT",
            "yes",
            "`danger_fault_endpoint` is the text \"yes\"; write `true` or `false`",
        ),
        (
            "PORTCULLIS__LISTENERS__DECISIONS__TRUSTED_PROXIES",
            "0.0.0.0/0",
            "0.0.0.0/0 holds strangers, who could state any host, path and address; write the networks of your proxies: private ones, or public ones of at most a /16 (IPv6: /32)",
        ),
        (
            "PORTCULLIS__LISTENERS__DECISIONS__KEEP_ALIVE",
            "5s",
            "proxies keep idle connections for 90 s and would lose requests; write 120s or more",
        ),
        (
            "PORTCULLIS__",
            "x",
            "this names no setting; write the keys that lead to it, and the places in lists from 0 to 255",
        ),
        (
            "PORTCULLIS__POLICY__",
            "x",
            "this names no setting; write the keys that lead to it, and the places in lists from 0 to 255",
        ),
        (
            "PORTCULLIS__RULES",
            "x",
            "unknown key `rules`; write one of `listeners`, `policy`, `issuers`, `credentials`, `stores`, `revocations`, `limits`, `reload`, `audit`, `shutdown`, `log`",
        ),
    ] {
        let wanted = (64, format!("environment {name}: {line}\n"));
        assert_eq!(Config::shop().env(name, value).check(), wanted);
        assert_eq!(Config::shop().env(name, value).serve_fails(), wanted);
    }
    // What does not begin with the prefix is no setting: an orchestrator sets such variables by itself.
    for name in ["PORTCULLIS_PORT", "PORTCULLIS_SERVICE_HOST", "XPORTCULLIS__POLICY", "portcullis__policy"] {
        assert_eq!(Config::shop().env(name, "x").check().0, 0, "{name}");
    }
    let (code, text) = Config::shop().arg("--admin=here").check();
    assert_eq!(
        (code, text.starts_with("flag listeners.admin.address: `address`: `here` is no address")),
        (64, true),
        "{text}"
    );
    let (code, text) = Config::shop().arg("--policy=nowhere.yaml").serve_fails();
    assert_eq!(
        (code, &*text),
        (
            64,
            "flag policy: nowhere.yaml: it cannot be read: No such file or directory (os error 2); name the policy file; a relative path starts at the folder of the settings file\n"
        )
    );
}

#[test]
fn a_setting_of_the_environment_that_is_no_text_is_not_passed_over() {
    let folder = Config::shop().write();
    for (name, value) in [
        (b"PORTCULLIS__POLICY".to_vec(), b"\xff.yaml".to_vec()),
        (b"PORTCULLIS__POLIC\xff".to_vec(), b"policy.yaml".to_vec()),
    ] {
        let output = Command::new(PROGRAM)
            .args(["check", "--config"])
            .arg(folder.path().join("portcullis.yaml"))
            .env(OsString::from_vec(name.clone()), OsString::from_vec(value))
            .stdin(Stdio::null())
            .output()
            .expect("the program runs");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(
            (output.status.code(), text.contains("PORTCULLIS__POLIC")),
            (Some(64), true),
            "{} {text}",
            name.escape_ascii()
        );
    }
}

#[test]
fn a_keep_alive_that_no_clock_can_hold_is_refused() {
    // What is not refused here panics in every connection later.
    let line = "    address: 127.0.0.1:0\n    keep_alive: 300000000000y\n    # The networks";
    let (code, text) = Config::shop().edit("    address: 127.0.0.1:0\n    # The networks", line).check();
    assert_eq!(code, 64, "{text}");
}

#[tokio::test]
async fn an_issuer_whose_tokens_are_for_anybody_must_be_called_dangerous() {
    let gate = Gate::start(&Config::shop().edit("audiences: [shop]", "danger_any_audience: true"));
    for changes in [json!({}), json!({"aud": "other"}), json!({"aud": ["a", "b"]}), json!({"aud": null})] {
        for dialect in BOTH {
            Probe::new(dialect).bearer(&KEY.token(&claims(changes.clone()))).ask(&gate).await.expect(200, "allowed");
        }
    }
    // Everything else about a token is checked as before.
    for (changes, reason) in [
        (json!({"iss": "other", "aud": null}), "unknown_issuer"),
        (json!({"exp": 1, "aud": null}), "expired"),
        (json!({"sub": null}), "no_subject"),
    ] {
        Probe::traefik().bearer(&KEY.token(&claims(changes))).ask(&gate).await.expect(401, reason);
    }
    let (code, text) = Config::shop().edit("audiences: [shop]", "danger_any_audience: false").serve_fails();
    assert_eq!((code, text.contains("tokens meant for other services would be taken")), (64, true), "{text}");
}

#[tokio::test]
async fn a_secret_is_never_printed() {
    const SECRET: &str = "hunter2-correct-horse-battery-staple";
    let issuer = |keys: &str| Config::shop().edit("      jwks_file: jwks.json", &format!("      {keys}"));
    let short = &SECRET[..20];
    for (config, secret) in [
        (issuer("hmac_secret_file: it.secret").file("it.secret", short), short),
        (issuer("hmac_secret_env: TEST_SECRET").env("TEST_SECRET", short), short),
        (issuer(&format!("hmac_secret: {SECRET}")), SECRET),
        (issuer(&format!("hmac_secret_file: [{SECRET}]")), SECRET),
        (issuer("jwks_file: it.secret").file("it.secret", SECRET), SECRET),
        (issuer("pem_file: it.secret").file("it.secret", SECRET), SECRET),
        (
            issuer("jwks_file: it.json").file(
                "it.json",
                &json!({"keys": [{"kty": "oct", "k": SECRET}, {"kty": SECRET}]}).to_string().replace(SECRET, "oct"),
            ),
            SECRET,
        ),
        (Config::shop().env("PORTCULLIS__ISSUERS__0__KEYS__HMAC_SECRET", SECRET), SECRET),
        (Config::shop().env("PORTCULLIS__SECRET", SECRET), SECRET),
        (issuer(&format!("jwks_url: 'https://gate:{SECRET}@id.shop.localhost/keys'")), SECRET),
        (issuer(&format!("jwks_url: 'http://gate:{SECRET}@id.shop.localhost/keys'")), SECRET),
        (issuer(&format!("jwks_url: 'https://gate:{SECRET}@[id.shop.localhost/keys'")), SECRET),
        (issuer(&format!("jwks_url: 'https://id.shop.localhost:keys/?token={SECRET}'")), SECRET),
        (Config::shop().env("PORTCULLIS__LISTENERS__ADMIN__PASSWORD", SECRET), SECRET),
    ] {
        for (code, text) in [config.check(), config.serve_fails()] {
            assert_eq!((code, text.contains(secret)), (64, false), "{text}");
        }
    }
    // Nor when all is well, on any level of the log.
    let config = issuer("hmac_secret_env: TEST_SECRET")
        .env("TEST_SECRET", SECRET)
        .edit("\nshutdown:", "\nlog: {level: trace}\nshutdown:");
    let (code, text) = config.check();
    assert_eq!((code, text.contains(SECRET)), (0, false), "{text}");
    let gate = Gate::start(&config);
    let signer = crate::support::signer::Signer::hmac("HS256", SECRET.as_bytes());
    Probe::traefik().bearer(&signer.token(&claims(json!({})))).ask(&gate).await.expect(200, "allowed");
    assert!(
        gate.log().contains("TRACE") && !gate.log().contains(SECRET) && !gate.log().contains("hunter2"),
        "{}",
        gate.log()
    );
}

/// Somebody who takes `hmac_secret_env` for the place of the secret itself writes it there.
#[test]
fn a_secret_in_the_place_of_its_variables_name_is_not_printed_either() {
    let config = Config::shop().edit("jwks_file: jwks.json", "hmac_secret_env: correct-horse+battery/staple==");
    let (code, text) = config.check();
    assert_eq!((code, text.contains("battery")), (64, false), "{text}");
}

/// A mistake of form hides none of meaning, neither in its own file nor in the other.
#[test]
fn mistakes_of_form_and_of_meaning_are_reported_together() {
    let config = Config::shop()
        .edit("    trusted_proxies: [127.0.0.0/8, \"::1/128\"]", "    deadline: 5s\n    trusted_proxis: []")
        .edit("methods: [GET]", "metods: [GET]")
        .edit("roles: {any: [admin]}", "roles: {any: []}");
    let (code, text) = config.check();
    assert_eq!(code, 64);
    for wanted in ["a decision must come within a second", "trusted_proxis", "metods", "the list is empty"] {
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
    // What is wrong only because something else is, is not said.
    assert!(!text.contains("nobody may ask") && !text.contains("can never match"), "{text}");
}
