//! The README tells the truth: its tables and samples are held against the code.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::fs;
use std::path::Path;

use portcullis::config::document::Document;
use portcullis::policy::{Class, Policy, PolicyFile, Reason};

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The rows of tables whose first cell is one word in backticks: that word, and the other cells.
fn rows(text: &str) -> Vec<(String, Vec<String>)> {
    let row = |line: &str| {
        let cells: Vec<String> = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").map(str::to_owned).collect();
        let (first, rest) = cells.split_first()?;
        Some((first.strip_prefix('`')?.strip_suffix('`')?.to_owned(), rest.to_vec()))
    };
    text.lines().filter_map(row).collect()
}

#[test]
fn every_refusal_is_a_row_with_its_status_and_meaning() {
    let readme = read("README.md");
    let section = readme.split("## Refusals").nth(1).unwrap().split("\n## ").next().unwrap();
    let wanted: Vec<(String, Vec<String>)> = Reason::ALL
        .iter()
        .map(|reason| {
            let status = reason.class().status(403).to_string();
            let status = if reason.class() == Class::Forbidden { "403 or 401".to_owned() } else { status };
            (reason.code().to_owned(), vec![status, reason.meaning().to_owned()])
        })
        .collect();
    assert_eq!(rows(section), wanted);
}

#[test]
fn every_setting_is_a_row() {
    let readme = read("README.md");
    let section = readme.split("## Settings").nth(1).unwrap().split("\n## ").next().unwrap();
    let table: Vec<String> =
        rows(section).into_iter().map(|(key, _)| key.rsplit('.').next().unwrap().to_owned()).collect();
    let sections = [
        "listeners",
        "decisions",
        "admin",
        "public",
        "issuers",
        "keys",
        "claims",
        "introspection",
        "credentials",
        "stores",
        "verified_tokens",
        "revocations",
        "store",
        "sqlite",
        "redis",
        "limits",
        "tls",
        "reload",
        "audit",
        "shutdown",
        "log",
    ];
    let source = read("src/config/settings.rs")
        + &read("src/config/settings/issuers.rs")
        + &read("src/config/settings/limits.rs")
        + &read("src/config/settings/redis.rs")
        + &read("src/config/settings/revocations.rs");
    let fields = source.lines().filter_map(|line| line.strip_prefix("    pub ")?.split(':').next());
    let fields = fields.filter(|field| !field.starts_with("fn "));
    for field in fields.filter(|field| !sections.contains(field)) {
        assert!(table.iter().any(|key| key == field), "README.md lacks the setting `{field}`");
    }
    for key in &table {
        assert!(source.contains(&format!("    pub {key}: ")), "README.md has a setting `{key}` that does not exist");
    }
}

#[test]
fn the_sample_policy_is_good_and_has_every_key() {
    let readme = read("README.md");
    let section = readme.split("## The policy").nth(1).unwrap();
    let sample = section.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let file: PolicyFile = Document::parse("README.md", sample).expect("YAML").read().expect("a policy");
    Policy::compile(&file).expect("a good policy");
    let source =
        read("src/policy/document.rs") + &read("src/policy/document/allow.rs") + &read("src/policy/document/limits.rs");
    for field in source.lines().filter_map(|line| line.strip_prefix("    pub ")?.split(':').next()) {
        let key = if field == "one_of" { "in" } else { field };
        assert!(sample.contains(&format!("{key}:")), "the sample policy does not show `{key}`");
    }
}

#[test]
fn the_shipped_policy_is_good() {
    let name = "examples/shop/policy.yaml";
    let file: PolicyFile = Document::parse(name, read(name)).expect("YAML").read().expect("a policy");
    Policy::compile(&file).expect("a good policy");
}
