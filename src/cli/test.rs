//! `portcullis test`: does the policy say what its tests expect?

mod cases;
mod file;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use self::cases::{Case, Cases};
use super::{EXIT_CONFIG, EXIT_FAILED, complain, say};
use crate::explain::Answer;

/// Which tests to run.
#[derive(Debug, Args)]
pub struct Options {
    /// Files of cases.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

/// Judges every case of every file. Succeeds if all come out as expected.
#[must_use]
pub fn run(options: &Options) -> ExitCode {
    let read: Vec<_> = options.files.iter().map(|file| (file, Cases::read(file))).collect();
    let mut is_usable = true;
    for report in read.iter().filter_map(|(_, cases)| cases.as_ref().err()) {
        complain(&report.to_string());
        is_usable = false;
    }
    if !is_usable {
        return ExitCode::from(EXIT_CONFIG);
    }
    let mut all_agree = true;
    let mut touched: BTreeMap<_, (Vec<String>, BTreeSet<String>)> = BTreeMap::new();
    for (file, cases) in read.iter().filter_map(|(file, cases)| Some((file, cases.as_ref().ok()?))) {
        let rules = || cases.rehearsal.policy.rules().iter().map(|rule| rule.id.to_string()).collect();
        let (_, touched) = touched.entry(&cases.of).or_insert_with(|| (rules(), BTreeSet::new()));
        let mut differ: usize = 0;
        for (place, case) in &cases.cases {
            let answer = case.judge(&cases.rehearsal);
            let differences = differences(case, &answer);
            if !differences.is_empty() {
                say(&format!(
                    "{place}: {}\n  {}\n{}",
                    case.file.name,
                    case.file.request.line(),
                    differences.join("\n")
                ));
                differ = differ.saturating_add(1);
            }
            touched.extend(answer.rule);
        }
        all_agree &= differ == 0;
        let (name, count) = (file.display(), cases.cases.len());
        say(&match differ {
            0 => format!("{name}: {count} cases, all as expected"),
            _ => format!("{name}: {count} cases, {differ} not as expected"),
        });
    }
    for (rules, touched) in touched.into_values() {
        let missed: Vec<&str> = rules.iter().filter(|rule| !touched.contains(*rule)).map(String::as_str).collect();
        say(&match missed.as_slice() {
            [] => format!("rules: {}, each touched by a case", rules.len()),
            missed => format!("rules: {}, of which no case touches {}", rules.len(), missed.join(", ")),
        });
    }
    if all_agree { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) }
}

/// What came out otherwise than expected, a line each.
fn differences(case: &Case, answer: &Answer) -> Vec<String> {
    let expect = &case.file.expect;
    let status = expect.status.map(|status| status.to_string());
    let mut compared = vec![
        ("decision".to_owned(), Some(expect.decision.text().to_owned()), answer.word().to_owned()),
        ("reason".to_owned(), expect.reason.clone(), answer.reason.to_owned()),
        ("rule".to_owned(), expect.rule.clone(), answer.rule.clone().unwrap_or_default()),
        ("status".to_owned(), status, answer.status.to_string()),
    ];
    for (name, wanted) in &expect.headers {
        let found = answer.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        let found = found.map(|(_, value)| value.clone()).unwrap_or_default();
        compared.push((name.clone(), Some(wanted.clone()), found));
    }
    let shown = |text: &str| if text.is_empty() { "none".to_owned() } else { text.to_owned() };
    let differs =
        |(_, wanted, found): &(String, Option<String>, String)| wanted.as_ref().is_some_and(|own| own != found);
    compared.retain(differs);
    let width = compared.iter().map(|(what, ..)| what.chars().count()).max().unwrap_or(0);
    let mut lines = Vec::new();
    for (what, wanted, found) in compared {
        lines.push(format!("    {what:<width$}  expected {}", shown(&wanted.unwrap_or_default())));
        lines.push(format!("    {:<width$}  got      {}", "", shown(&found)));
        // The reason tells more than the word.
        if what == "decision" && expect.reason.is_none() {
            lines.push(format!("    {:<width$}  since    {} - {}", "", answer.reason, answer.meaning));
        }
    }
    lines
}
