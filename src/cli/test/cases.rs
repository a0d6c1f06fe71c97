//! Cases that can be judged, out of a file of them.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use super::file::{CaseFile, CasesFile, Word};
use crate::clock::UnixTime;
use crate::config::Report;
use crate::config::load::rehearsal::{Rehearsal, document, rehearsal};
use crate::explain::{ALLOWED, Answer, Question};
use crate::gate::route;
use crate::mistake::Mistake;
use crate::policy::{Principal, Reason};
use crate::server::clock;

/// A file of cases, ready to be judged.
pub(super) struct Cases {
    /// Each with where it stands.
    pub(super) cases: Vec<(String, Case)>,
    pub(super) rehearsal: Rehearsal,
    /// Which settings and which policy are tried: files that name the same ones touch the same rules.
    pub(super) of: (PathBuf, Option<PathBuf>),
}

/// One case.
pub(super) struct Case {
    pub(super) file: CaseFile,
    question: Question,
    principal: Option<Arc<Principal>>,
    at: Option<UnixTime>,
}

impl Case {
    /// What comes of it: as the gate decides, with a credential that counts as proven.
    pub(super) fn judge(&self, rehearsal: &Rehearsal) -> Answer {
        let policy = &rehearsal.policy;
        let now = self.at.unwrap_or_else(clock::now);
        let fields = self.question.fields();
        let ask = self.question.ask(&fields);
        let decision = match &ask {
            Err(reason) => Err((*reason).into()),
            Ok(ask) => match route(policy, ask) {
                ControlFlow::Break(decision) => decision,
                ControlFlow::Continue(rule) => {
                    rule.grant(ask.step, self.principal.clone(), &ask.facts, now, &policy.identity)
                }
            },
        };
        Answer::of(policy, &decision, &fields, ask.as_ref().ok().map(|ask| &ask.facts))
    }
}

impl Cases {
    /// Reads a file of cases, and the settings and the policy that it names.
    ///
    /// # Errors
    /// All mistakes of all three.
    pub(super) fn read(path: &Path) -> Result<Self, Report> {
        let written = document(path)?;
        let beside = path.parent().unwrap_or(Path::new(""));
        let mut tried = None;
        let mut made = Vec::new();
        let read = written.read_checked(|file: &CasesFile| {
            let of = (beside.join(&file.settings), file.policy.as_ref().map(|policy| beside.join(policy)));
            let rehearsal = rehearsal(&of.0, of.1.as_deref());
            let mut mistakes = Vec::new();
            if file.cases.is_empty() {
                mistakes.push(Mistake::new("cases", "there are no cases", "write at least one"));
            }
            if let Ok(rehearsal) = &rehearsal {
                let case = |(index, case): (usize, &CaseFile)| made_of(case, index, rehearsal, &mut mistakes);
                made = file.cases.iter().enumerate().map(case).collect();
            }
            tried = Some((of, rehearsal));
            mistakes
        });
        match (read, tried) {
            (Ok(file), Some((of, Ok(rehearsal)))) => {
                let places = (0..file.cases.len()).map(|index| written.place(&format!("cases[{index}]")));
                let cases = file.cases.into_iter().zip(made).zip(places).filter_map(|((file, made), place)| {
                    let Made { question, principal, at } = made?;
                    Some((place, Case { file, question, principal, at }))
                });
                Ok(Self { cases: cases.collect(), rehearsal, of })
            }
            (Ok(_), Some((_, Err(report)))) => Err(report),
            (Err(report), Some((_, Err(other)))) => Err(report.merge(other)),
            (Err(report), _) => Err(report),
            (Ok(_), None) => Err(Report::plain(path.display().to_string(), "it cannot be read")),
        }
    }
}

/// What a case is judged on.
struct Made {
    question: Question,
    principal: Option<Arc<Principal>>,
    at: Option<UnixTime>,
}

fn made_of(case: &CaseFile, index: usize, rehearsal: &Rehearsal, mistakes: &mut Vec<Mistake>) -> Option<Made> {
    let at = |key: &str| format!("cases[{index}].{key}");
    let mut add = |key: &str, what: String, remedy: &str| mistakes.push(Mistake::new(at(key), what, remedy));
    let question = Question::new(&case.request.asked());
    if let Err(why) = &question {
        add(
            "request",
            format!("it cannot be asked: {why}"),
            "write url: https://HOST/PATH, and headers that decisions look at",
        );
    }
    let moment = case.at.as_ref().map(|text| text.parse::<Timestamp>());
    if let (Some(Err(_)), Some(text)) = (&moment, &case.at) {
        let remedy = "write date, time and offset, such as 2027-01-01T00:00:00Z";
        add("at", format!("`{text}` is no moment"), remedy);
    }
    let expect = &case.expect;
    let codes = || Reason::ALL.iter().map(|reason| reason.code());
    if let Some(reason) = &expect.reason {
        let fits = match expect.decision {
            Word::Allow => reason == ALLOWED,
            Word::Deny => codes().any(|code| code == reason),
        };
        if !fits {
            let what = format!("`{reason}` is no reason to {}", expect.decision.text());
            add("expect.reason", what, "write a reason of the README's table; to allow there is only `allowed`");
        }
    }
    if let Some(rule) =
        expect.rule.as_ref().filter(|rule| !rehearsal.policy.rules().iter().any(|own| *own.id == ***rule))
    {
        add("expect.rule", format!("the policy has no rule `{rule}`"), "write the id of one of its rules");
    }
    if case.claims.is_some() == case.anonymous {
        let remedy = "write `claims` of the credential that is shown, or `anonymous: true` if there is none";
        add("name", format!("who asks in `{}` is not said once", case.name), remedy);
        return None;
    }
    let principal = match &case.claims {
        None => None,
        Some(claims) => {
            let mut issuers = rehearsal.issuers.iter();
            let issuer = match &case.issuer {
                Some(name) => issuers.find(|(own, _)| **own == **name),
                None => issuers.next().filter(|_| issuers.next().is_none()),
            };
            let Some((name, mapping)) = issuer else {
                let known: Vec<&str> = rehearsal.issuers.iter().map(|(name, _)| &**name).collect();
                let (key, what) = match &case.issuer {
                    Some(name) => ("issuer", format!("the settings have no issuer `{name}`")),
                    None => ("claims", "whose claims they are is not said".to_owned()),
                };
                add(key, what, &format!("write as `issuer` one of {}", known.join(", ")));
                return None;
            };
            let Ok(principal) = mapping.supposed(name, claims, &rehearsal.policy.claims) else {
                let remedy =
                    "write the claim that names it, as a text: `sub`, or what the issuer's `claims.subject` says";
                add("claims", "they name no subject".to_owned(), remedy);
                return None;
            };
            Some(Arc::new(principal))
        }
    };
    let at = match moment {
        None => None,
        Some(moment) => Some(UnixTime::from_micros(moment.ok()?.as_microsecond())),
    };
    Some(Made { question: question.ok()?, principal, at })
}
