//! An explanation for people.

use std::fmt::{self, Display, Formatter};

use super::{Answer, Explanation, Judged, Place};
use crate::policy::document::Who;

impl Display for Explanation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.request {
            None => writeln!(f, "request   cannot be judged")?,
            Some(request) => {
                write!(f, "request   {} {}{} from {}", request.method, request.host, request.path, request.client)?;
                match &request.set {
                    None => writeln!(f)?,
                    Some(set) => writeln!(f, ", rule set {set}")?,
                }
            }
        }
        self.rules(f)?;
        if let (Some(id), Some(who)) = (&self.answer.rule, self.who) {
            writeln!(f, "rule      {id}, {}", whom(who))?;
        }
        if !self.demands.is_empty() {
            writeln!(f, "demands")?;
            self.demands.iter().try_for_each(|demand| demand.print(f, 1))?;
        }
        if !self.limits.is_empty() {
            writeln!(f, "limits")?;
            self.limits.iter().try_for_each(|limit| writeln!(f, "  {limit}"))?;
        }
        match &self.asker {
            None => writeln!(f, "asker     nobody who is known")?,
            Some((subject, issuer)) => writeln!(f, "asker     {subject}, by {issuer}")?,
        }
        let Answer { reason, meaning, status, headers, .. } = &self.answer;
        write!(f, "decision  {} {status} {reason} - {meaning}", self.answer.word())?;
        if !headers.is_empty() {
            write!(f, "\nheaders")?;
        }
        headers.iter().try_for_each(|(name, value)| write!(f, "\n  {name}: {value}"))
    }
}

/// What is said of a rule's attitude to credentials.
fn whom(who: Who) -> &'static str {
    match who {
        Who::Anonymous => "for which no credential is looked at",
        Who::Optional => "which needs no credential; one that is there must hold",
        Who::Authenticated => "which needs a credential",
    }
}

impl Explanation {
    fn rules(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (others, near): (Vec<&Place>, Vec<&Place>) = self.places.iter().partition(|place| place.is_of_another_host);
        if self.request.is_some() {
            writeln!(f, "rules")?;
        }
        let place = |place: &Place| {
            let methods = if place.methods.is_empty() { "*".to_owned() } else { place.methods.join(",") };
            format!("{methods} {}{}", place.host, place.path)
        };
        let width = |text: &dyn Fn(&Place) -> usize| near.iter().map(|place| text(place)).max().unwrap_or(0);
        let ids = width(&|one| one.rule.chars().count());
        let places = width(&|one| place(one).chars().count());
        for one in &near {
            let mark = if one.applies { "yes" } else { "no" };
            writeln!(f, "  {mark:<4} {:<ids$}  {:<places$}  {}", one.rule, place(one), one.why)?;
        }
        let mut others: Vec<&str> = others.iter().map(|place| place.rule.as_str()).collect();
        others.dedup();
        if others.is_empty() { Ok(()) } else { writeln!(f, "  no   of other hosts: {}", others.join(", ")) }
    }
}

impl Judged {
    fn print(&self, f: &mut Formatter<'_>, depth: usize) -> fmt::Result {
        let indent = depth.saturating_mul(2);
        let word = match self.outcome {
            None => "not asked",
            Some(Ok(())) => "met",
            Some(Err(_)) => "not met",
        };
        write!(f, "{:indent$}{word:<10} {}", "", self.demand)?;
        match self.outcome {
            Some(Err(reason)) => writeln!(f, " - {}", reason.code())?,
            Some(Ok(())) | None => writeln!(f)?,
        }
        self.parts.iter().try_for_each(|part| part.print(f, depth.saturating_add(1)))
    }
}
