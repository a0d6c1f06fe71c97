//! `portcullis replay`: which recorded decisions would another policy change?

mod judge;
mod line;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use self::judge::{Verdict, judge};
use self::line::Line;
use super::{EXIT_CONFIG, EXIT_FAILED, complain, say};
use crate::config::load::rehearsal::rehearsal;
use crate::policy::{Policy, Reason};

/// What was recorded, and what it is judged by.
#[derive(Debug, Args)]
pub struct Options {
    /// The audit lines.
    #[arg(long, value_name = "FILE")]
    log: PathBuf,
    /// The settings of the gate that wrote them, whose policy decided.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The policy to try.
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
}

/// Judges every line again. Succeeds if no decision would change.
#[must_use]
pub fn run(options: &Options) -> ExitCode {
    let current = rehearsal(&options.config, None);
    let candidate = rehearsal(&options.config, Some(&options.policy));
    let (current, candidate) = match (current, candidate) {
        (Ok(current), Ok(candidate)) => (current.policy, candidate.policy),
        (Err(report), Ok(_)) | (Ok(_), Err(report)) => return unusable(&report.to_string()),
        (Err(one), Err(other)) => return unusable(&one.merge(other).to_string()),
    };
    let log = &options.log;
    match replayed(log, &candidate, &current) {
        Err(error) => unusable(&format!("{}: it cannot be read: {error}", log.display())),
        Ok(tally) if tally.lines == tally.unreadable.len() => {
            unusable(&format!("{}: it holds no audit line", log.display()))
        }
        Ok(tally) => {
            say(&tally.summary());
            if tally.changed == 0 { ExitCode::SUCCESS } else { ExitCode::from(EXIT_FAILED) }
        }
    }
}

fn unusable(why: &str) -> ExitCode {
    complain(why);
    ExitCode::from(EXIT_CONFIG)
}

/// What came of the lines.
#[derive(Debug, Default)]
struct Tally {
    lines: usize,
    /// The numbers of those that are no audit lines.
    unreadable: Vec<usize>,
    changed: usize,
    stricter: usize,
    laxer: usize,
    same: usize,
    other_rule: usize,
    by_rule: usize,
    unknown: BTreeMap<String, usize>,
}

fn replayed(log: &PathBuf, candidate: &Policy, current: &Policy) -> io::Result<Tally> {
    let mut tally = Tally::default();
    let mut file = BufReader::new(File::open(log)?);
    let mut bytes = Vec::new();
    while file.read_until(b'\n', &mut bytes)? > 0 {
        tally.lines = tally.lines.saturating_add(1);
        match Line::read(&bytes) {
            None => tally.unreadable.push(tally.lines),
            Some(line) => tally.count(&line, judge(&line, candidate, current)),
        }
        bytes.clear();
    }
    Ok(tally)
}

fn add(count: &mut usize) {
    *count = count.saturating_add(1);
}

impl Tally {
    /// Counts a line, and prints it if it changes.
    fn count(&mut self, line: &Line, verdict: Verdict) {
        let before = line.rule.as_deref().unwrap_or("no rule");
        match verdict {
            Verdict::Unknown(rule, why) => {
                let what = format!("{before} -> {}: {why}", rule.as_deref().unwrap_or("no rule"));
                add(self.unknown.entry(what).or_default());
            }
            Verdict::ByRule => {
                add(&mut self.same);
                add(&mut self.by_rule);
            }
            Verdict::Judged(outcome, rule) if outcome == line.outcome => {
                add(&mut self.same);
                if rule != line.rule {
                    add(&mut self.other_rule);
                }
            }
            Verdict::Judged(outcome, rule) => {
                add(&mut self.changed);
                match (line.outcome, outcome) {
                    (Ok(()), Err(_)) => add(&mut self.stricter),
                    (Err(_), Ok(())) => add(&mut self.laxer),
                    (Ok(()), Ok(())) | (Err(_), Err(_)) => {}
                }
                let after = rule.as_deref().unwrap_or("no rule");
                let (was, is) = (told(line.outcome), told(outcome));
                say(&format!("{} {}: {was} by {before} -> {is} by {after}", line.time, line.request()));
            }
        }
    }

    fn summary(&self) -> String {
        let mut unknown: usize = 0;
        for count in self.unknown.values() {
            unknown = unknown.saturating_add(*count);
        }
        let mut lines = vec![format!(
            "{} lines: {} change ({} allow -> deny, {} deny -> allow), {} stay, {unknown} unknown",
            self.lines, self.changed, self.stricter, self.laxer, self.same,
        )];
        if self.other_rule > 0 {
            lines.push(format!("of those that stay, {} under another rule", self.other_rule));
        }
        if self.by_rule > 0 {
            let why = "rule and demands are the same, and what they looked at was not recorded";
            lines.push(format!("of those that stay, {} by the rule alone: {why}", self.by_rule));
        }
        for (what, count) in &self.unknown {
            lines.push(format!("unknown, {count}: {what}"));
        }
        if let Some(first) = self.unreadable.first() {
            lines.push(format!("no audit lines: {}, the first is line {first}", self.unreadable.len()));
        }
        lines.join("\n")
    }
}

fn told(outcome: Result<(), Reason>) -> String {
    match outcome {
        Ok(()) => "allow".to_owned(),
        Err(reason) => format!("deny {}", reason.code()),
    }
}
