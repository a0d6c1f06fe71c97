use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU16;

use proptest::prelude::*;
use serde::Deserialize;

use super::Document;
use crate::config::report::Origin;
use crate::mistake::Mistake;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "what is read is looked at through `Debug`, or not at all")]
struct Settings {
    listen: Listen,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(default)]
    rules: Vec<Rule>,
    #[serde(default)]
    claims: BTreeMap<String, String>,
    note: Option<String>,
    client_secret: Option<String>,
    client_secret_file: Option<u8>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "see above")]
struct Listen {
    address: SocketAddr,
    workers: NonZeroU16,
    #[serde(default)]
    tls: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "see above")]
struct Rule {
    action: Action,
    #[serde(default)]
    paths: Vec<String>,
    limit: Option<u16>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[expect(dead_code, reason = "see above")]
enum Action {
    Allow,
    Deny,
    Ask { issuer: String },
}

const LISTEN: &str = "listen: {address: 127.0.0.1:80, workers: 2}\n";

fn wrong(text: &str) -> String {
    match Document::parse("f", text).and_then(|document| document.read::<Settings>()) {
        Ok(settings) => panic!("it reads: {settings:?}"),
        Err(report) => report.to_string(),
    }
}

fn right<T: serde::de::DeserializeOwned>(text: &str) -> T {
    Document::parse("f", text).unwrap().read().unwrap_or_else(|report| panic!("{report}"))
}

fn at(line: u64, column: u64) -> Origin {
    Origin::File { line, column }
}

#[test]
fn all_mistakes_of_a_file_are_reported_in_one_go() {
    let text = "\
lissten: {}
listen:
  addres: 127.0.0.1:80
  workers: many
  tls: yes
roles: admin
rules:
  - action: alow
    paths: [/a, {b: c}, /d, [e]]
  - {action: deny, limit: 70000, pathes: []}
  - action: {ask: {isuer: x}}
  - paths: ['/ü', 'x'], limit: -1}
";
    assert_eq!(
        wrong(&text.replace("- paths: ['/ü', 'x'], limit: -1}", "- {paths: ['/ü', x], limit: -1}")),
        "\
f:1:1: unknown key `lissten`; did you mean `listen`?
f:3:3: the key `address` is missing; add `address: …` to `listen`
f:3:3: unknown key `addres`; did you mean `address`?
f:4:12: `workers` is the text \"many\"; write a whole number from 1 to 65535
f:5:8: `tls` is the text \"yes\"; write `true` or `false`
f:6:8: `roles` is the text \"admin\"; write a list
f:8:13: `action` is `alow`; did you mean `allow`?
f:9:17: `paths[1]` is a section; write text
f:9:29: `paths[3]` is a list; write text
f:10:27: `limit` is the number 70000; write a whole number from 0 to 65535
f:10:34: unknown key `pathes`; did you mean `paths`?
f:11:19: the key `issuer` is missing; add `issuer: …` to `rules[2].action.ask`
f:11:20: unknown key `isuer`; did you mean `issuer`?
f:12:5: the key `action` is missing; add `action: …` to `rules[3]`
f:12:31: `limit` is the number -1; write a whole number from 0 to 65535"
    );
}

#[test]
fn single_mistakes() {
    for (text, line) in [
        ("", "f:1:1: the key `listen` is missing; add `listen: …` at the top"),
        ("# nothing\n", "f:2:1: the key `listen` is missing; add `listen: …` at the top"),
        ("- a", "f:1:1: the file is a list; write a section of keys and values"),
        ("a", "f:1:1: the file is the text \"a\"; write a section of keys and values"),
        ("listen:", "f:1:1: `listen` is empty; write a section of keys and values"),
        ("listen: {workers: 1, address: here}", "f:1:31: `address` is \"here\": invalid socket address syntax"),
        (
            "listen: {workers: 0, address: '1.2.3.4:5'}",
            "f:1:19: `workers` is the number 0; write a whole number from 1 to 65535",
        ),
        (
            "listen: {workers: '1', address: '1.2.3.4:5'}",
            "f:1:19: `workers` is the text \"1\"; write a whole number from 1 to 65535",
        ),
        (
            "listen: {workers: 010, address: '1.2.3.4:5'}",
            "f:1:19: `workers` is the text \"010\"; write a whole number from 1 to 65535",
        ),
        (
            "listen: {workers: 1_0, address: '1.2.3.4:5'}",
            "f:1:19: `workers` is the text \"1_0\"; write a whole number from 1 to 65535",
        ),
        (
            "listen: {workers: 1.5, address: '1.2.3.4:5'}",
            "f:1:19: `workers` is the number 1.5; write a whole number from 1 to 65535",
        ),
        ("listen: [1.2.3.4:5, 6]", "f:1:9: `listen` is a list; write a section of keys and values"),
    ] {
        assert_eq!(wrong(text), line, "{text}");
    }
    for (text, line) in [
        ("roles:", "f:2:1: `roles` is empty; write a list"),
        (
            "zzz: 1",
            "f:2:1: unknown key `zzz`; write one of `listen`, `roles`, `rules`, `claims`, `note`, `client_secret`, `client_secret_file`",
        ),
        ("rules: [{action: }]", "f:2:10: `action` is empty; write one of `allow`, `deny`, `ask`"),
        ("rules: [{action: ask}]", "f:2:18: `action` is the text \"ask\"; write `ask: …` with its settings"),
        ("rules: [{action: {deny: now}}]", "f:2:25: `deny` is the text \"now\"; write nothing under it"),
        ("rules: [{action: {alow: {}}}]", "f:2:19: unknown key `alow`; did you mean `allow`?"),
        (
            "rules: [{action: {allow: , deny: }}]",
            "f:2:18: `action`: a choice has one key; write one of `allow`, `deny`, `ask`",
        ),
        ("claims: {a: [1]}", "f:2:13: `a` is a list; write text"),
        ("note: \"a\\nb\\u001b\"\nnot: \"\\e[0m\"", "f:3:1: unknown key `not`; did you mean `note`?"),
        ("\"no\\nte\": 1", "f:2:1: unknown key `no\\nte`; did you mean `note`?"),
    ] {
        assert_eq!(wrong(&format!("{LISTEN}{text}")), line, "{text}");
    }
}

#[test]
fn what_is_no_yaml_is_reported_where_it_is() {
    for (text, line) in [
        ("a: 1\nb:\n  é: 1\n  é: 2\n", "f:4:3: the key `é` is given twice; keep one of the two"),
        ("a: {b: 1, b: 2}", "f:1:11: the key `b` is given twice; keep one of the two"),
        ("a: 1\n---\nb: 2\n", "f:3:1: a second document starts; keep one document in a file, without `---` after it"),
        ("a: *b", "f:1:4: this alias has no anchor before it; name an anchor that was set with `&`"),
        ("a: &a [*a]", "f:1:8: this alias is inside of its own anchor; write the value out"),
        ("a: !b c", "f:1:7: this tag is not known; leave out what starts with `!`, or quote the text"),
        ("~: a", "f:1:1: a key is empty; write the key in quotes"),
        (
            "a:\n\tb: 1",
            "f:2:2: this is not YAML: tabs disallowed within this context (block indentation); correct it here",
        ),
        ("a: [1\nb: 2", "f:2:2: this is not YAML: illegal placement of ':' indicator; correct it here"),
        ("a: 'b", "f:1:4: this is not YAML: unclosed quote; correct it here"),
    ] {
        assert_eq!(wrong(text), line, "{text}");
    }
    let latin = Document::parse("f", b"a: 1\nb: \xc3\xa9\xe9").unwrap_err();
    assert_eq!(latin.to_string(), "f:2:5: this is no UTF-8 text; save the file as UTF-8");
}

#[test]
fn hostile_files_are_refused_quickly() {
    let nested = |open: &str, close: &str| format!("{}{}", open.repeat(5000), close.repeat(5000));
    let row = |letter: char, below: char| format!("{letter}: &{letter} [{}]\n", vec![format!("*{below}"); 9].join(","));
    let bomb: String = ('b'..'i').zip('a'..).map(|(letter, below)| row(letter, below)).collect();
    for text in [nested("[", "]"), nested("{a: ", "}"), nested("- ", "\n"), format!("a: &a [x]\n{bomb}")] {
        let report = Document::parse("f", &text).unwrap_err();
        assert_eq!(report.len(), 1);
    }
    let large = Document::parse("f", vec![b'#'; 5 << 20]).unwrap_err();
    assert_eq!(large.to_string(), "f: the file has 5242880 bytes; write at most 4194304");
    let many: String = (0..5000).map(|index| format!("k{index}: 1\n")).collect();
    assert_eq!(Document::parse("f", many).unwrap().read::<Settings>().unwrap_err().len(), 100);
}

#[test]
fn scalars_are_those_of_yaml_1_2_and_text_is_what_was_written() {
    for written in [
        "010",
        "yes",
        "no",
        "on",
        "off",
        "1_000",
        "1.10",
        "0x1F",
        "1e3",
        "true",
        "-5",
        ".inf",
        "2026-01-01",
        "12:30",
        "99999999999999999999",
    ] {
        let read: BTreeMap<String, String> = right(&format!("{written}: {written} # said"));
        assert_eq!(read, BTreeMap::from([(written.to_owned(), written.to_owned())]));
    }
    let quoted: BTreeMap<String, String> =
        right("a: 'it''s'\nb: \"\\u00e9\"\nc: |\n  x\n  y\nd: a\n  b\ne: !!int \"5\"\n");
    assert_eq!(quoted.into_values().collect::<Vec<_>>(), ["it's", "é", "x\ny\n", "a b", "5"]);
    assert_eq!(
        right::<BTreeMap<String, f64>>("a: 1\nb: -1.5\nc: 1e3").into_values().collect::<Vec<_>>(),
        [1.0, -1.5, 1000.0]
    );
    assert_eq!(right::<BTreeMap<String, i8>>("a: -1\nb: +2\nc: 0").into_values().collect::<Vec<_>>(), [-1, 2, 0]);
    assert_eq!(right::<BTreeMap<String, bool>>("a: true\nb: False").into_values().collect::<Vec<_>>(), [true, false]);
    assert_eq!(right::<Settings>(LISTEN).note, None);
    // A forgotten value is no absent key: `roles:` left empty must not mean that no role is demanded.
    for nothing in ["note:", "note: ~", "note: null"] {
        let document = Document::parse("f", format!("{LISTEN}{nothing}")).expect("YAML");
        assert!(document.read::<Settings>().is_err(), "{nothing}");
    }
}

#[test]
fn keys_keep_their_case_and_aliases_and_merges_work() {
    let read: BTreeMap<String, BTreeMap<String, u8>> =
        right("Base: &b {X.y: 1, z: 2}\nmore:\n  <<: *b\n  z: 3\nsame: *b\n");
    assert_eq!(read["more"], BTreeMap::from([("X.y".to_owned(), 1), ("z".to_owned(), 3)]));
    assert_eq!(read["same"], read["Base"]);
}

#[test]
fn a_mistake_that_an_alias_repeats_is_one_mistake_at_the_anchor() {
    let text = format!("{LISTEN}rules:\n  - &r {{action: deny, limit: x}}\n  - *r\n");
    assert_eq!(wrong(&text), "f:3:30: `limit` is the text \"x\"; write a whole number from 0 to 65535");
}

#[test]
fn secrets_are_not_repeated() {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "never read")]
    struct Hidden {
        client_secret: u8,
        api_keys: Vec<u8>,
        password: SocketAddr,
        token: BTreeMap<String, Action>,
        secret_file: u8,
        tagged: Tagged,
    }
    #[derive(Debug, Deserialize)]
    #[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
    #[expect(dead_code, reason = "never read")]
    enum Tagged {
        Basic { password: u8 },
    }
    let text = "\
client_secret: hunter1
api_keys: [hunter2, hunter3]
password: hunter4
token: {a: hunter5}
secret_file: shown
tagged: {type: basic, password: hunter6}
";
    let report = Document::parse("f", text).unwrap().read::<Hidden>().unwrap_err();
    assert_eq!(
        report.to_string(),
        "\
f:1:16: `client_secret` is text; write a whole number from 0 to 255
f:2:12: `api_keys[0]` is text; write a whole number from 0 to 255
f:2:21: `api_keys[1]` is text; write a whole number from 0 to 255
f:3:11: `password` cannot be used (its value is secret and not shown)
f:4:12: `a` cannot be used (its value is secret and not shown)
f:5:14: `secret_file` is the text \"shown\"; write a whole number from 0 to 255
f:6:9: `tagged` is text; write a whole number from 0 to 255"
    );
    let document = Document::parse("f", text).unwrap();
    assert!(!format!("{document:?}").contains("hunter"));
}

#[test]
fn a_cross_check_that_fails_only_because_of_another_mistake_is_silent() {
    #[derive(Debug, Deserialize)]
    #[serde(try_from = "Raw")]
    struct Even;
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Raw {
        low: u8,
        high: u8,
    }
    impl TryFrom<Raw> for Even {
        type Error = String;
        fn try_from(raw: Raw) -> Result<Self, String> {
            if raw.low < raw.high { Ok(Self) } else { Err("`low` is not below `high`; write a lower `low`".into()) }
        }
    }
    let lines = |text: &str| Document::parse("f", text).unwrap().read::<Vec<Even>>().unwrap_err().to_string();
    assert_eq!(
        lines("- {low: 3, high: x}\n- {low: 1, high: 2}\n- {low: 2, high: 1}\n- {high: 0}"),
        "\
f:1:18: `high` is the text \"x\"; write a whole number from 0 to 255
f:3:3: `[2]`: `low` is not below `high`; write a lower `low`
f:4:3: the key `low` is missing; add `low: …` to `[3]`"
    );
}

#[test]
fn places_are_found_for_later_checks() {
    let text = "issuers:\n  - name: é\n    claims: {é: x, roles.a: [b, c], roles: d}\n  -\n    name: y\n";
    let document = Document::parse("f", text).unwrap();
    for (path, place) in [
        ("issuers[0].name", at(2, 11)),
        ("issuers[0].claims.é", at(3, 17)),
        ("issuers[0].claims.roles.a[1]", at(3, 33)),
        ("issuers[0].claims.roles", at(3, 44)),
        ("issuers[0].claims.none.such", at(3, 13)),
        ("issuers[1]", at(5, 5)),
        ("issuers[1].name.more[7]", at(5, 11)),
        ("issuers[9]", at(2, 3)),
        ("issuers[x", at(2, 3)),
        ("none", at(1, 1)),
        ("", at(1, 1)),
    ] {
        assert_eq!(document.locate(path), place, "{path}");
    }
    let later = document.report(vec![
        Mistake::new("issuers[1].name", "the issuer `y` is not used", "leave it out"),
        Mistake::new("issuers[0].name", "`é` is no host", ""),
        Mistake::new("issuers[0].name", "`é` is no host", ""),
    ]);
    let other = Document::parse("e", "a: b").unwrap().report(vec![Mistake::new("a", "first", "by name")]);
    let all = later.merge(other).merge(crate::config::report::Report::plain("d", "no such file"));
    assert_eq!(
        all.to_string(),
        "d: no such file\ne:1:4: first; by name\nf:2:11: `é` is no host\nf:5:11: the issuer `y` is not used; leave it out"
    );
}

#[test]
fn columns_count_characters_and_survive_carriage_returns_and_byte_order_marks() {
    let document = Document::parse("f", "\u{feff}é: {ü: x}\r\nb:\r\n  c: [1,\r\n   2]\r\n").unwrap();
    assert_eq!(document.locate("é.ü"), at(1, 8));
    assert_eq!(document.locate("b.c[1]"), at(4, 4));
}

#[test]
fn two_documents_differ_where_they_say_something_else() {
    let parse = |text: &str| Document::parse("f", text).unwrap();
    let old = parse("a: 1\nb: {c: [x, y], d: ~}\ne: 8\n");
    assert_eq!(old.differing(&parse("# moved\ne: 8\nb:\n  d:\n  c: [x, y]\na: 1\n")), [""; 0]);
    let new = parse("a: 2\nb: {c: [x, z, w], d: {}}\ne: \"8\"\nf: 1\n");
    assert_eq!(old.differing(&new), ["a", "b.c[1]", "b.c[2]", "b.d", "e", "f"]);
    assert_eq!(new.differing(&old), ["a", "b.c[1]", "b.c[2]", "b.d", "e", "f"]);
}

proptest! {
    #[test]
    fn nothing_panics(text in "(?s).{0,80}") {
        drop(Document::parse("f", &text).map(|document| document.read::<Settings>().map(drop)));
    }

    #[test]
    fn nothing_that_looks_like_yaml_panics(parts in prop::collection::vec(prop::sample::select(vec![
        "listen", "rules", "roles", "action", "ask", "issuer", ": ", ":", "\n", "\n  ", "\n- ", "- ", "[", "]", "{", "}",
        ", ", "&a ", "*a", "<<", "'", "\"", "|", ">", "#", "!!int ", "~", "010", "é", "\t", "\r\n", "? ", "%", "---\n", "...\n",
    ]), 0..40)) {
        let text = parts.concat();
        if let Err(report) = Document::parse("f", &text).and_then(|document| document.read::<Settings>()) {
            prop_assert!(!report.is_empty());
            prop_assert_eq!(report.to_string().lines().count(), report.len());
        }
    }

    #[test]
    fn bytes_do_not_panic(bytes: Vec<u8>) {
        drop(Document::parse("f", bytes));
    }
}
