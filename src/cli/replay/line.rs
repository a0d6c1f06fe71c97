//! An audit line, read back.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::clock::UnixTime;
use crate::explain::ALLOWED;
use crate::policy::{CanonicalPath, Host, Method, Principal, Reason, RequestFacts, Step};

#[derive(Deserialize)]
struct Written {
    time: String,
    decision: String,
    reason: String,
    rule: Option<String>,
    subject: Option<String>,
    issuer: Option<String>,
    method: Option<String>,
    host: Option<String>,
    path: Option<String>,
    #[serde(default)]
    rule_set: Option<String>,
    client: Option<IpAddr>,
    step: Option<String>,
    #[serde(default)]
    principal: Option<Recorded>,
}

/// What demands were judged on. Of the claims each that was looked at is there, with null if there was none.
#[derive(Debug, Deserialize)]
pub(super) struct Recorded {
    roles: Vec<String>,
    groups: Vec<String>,
    scopes: Vec<String>,
    tier: Option<String>,
    claims: BTreeMap<String, Value>,
}

impl Recorded {
    pub(super) fn holds(&self, claim: &str) -> bool {
        self.claims.contains_key(claim)
    }
}

/// A recorded decision.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) time: Timestamp,
    /// Why it was refused, if it was.
    pub(super) outcome: Result<(), Reason>,
    pub(super) rule: Option<String>,
    pub(super) asker: Option<Asker>,
    pub(super) step: Step,
    request: Option<Request>,
}

/// Who asked, and was known.
#[derive(Debug)]
pub(super) struct Asker {
    issuer: String,
    subject: String,
    pub(super) recorded: Option<Recorded>,
}

#[derive(Debug)]
struct Request {
    set: Option<String>,
    method: String,
    host: String,
    /// The path as a target that is read as this path.
    target: String,
    client: IpAddr,
}

impl Line {
    /// Reads a line; none if it is no audit line.
    pub(super) fn read(line: &[u8]) -> Option<Self> {
        let written: Written = serde_json::from_slice(line).ok()?;
        let outcome = match written.decision.as_str() {
            "allow" => (written.reason == ALLOWED).then_some(Ok(()))?,
            "deny" => Err(*Reason::ALL.iter().find(|reason| reason.code() == written.reason)?),
            _ => return None,
        };
        // It is printed: a rule's name and nothing else.
        let is_name =
            |id: &String| id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b));
        if !written.rule.iter().chain(&written.rule_set).all(is_name) {
            return None;
        }
        let request = match (written.method, written.host, written.path, written.client) {
            (Some(method), Some(host), Some(path), Some(client)) => {
                Some(Request { set: written.rule_set, method, host, target: target(&path), client })
            }
            (None, None, None, None) => None,
            _ => return None,
        };
        let steps = [Step::Validate, Step::Authenticate, Step::Authorize];
        let step = match written.step {
            Some(name) => *steps.iter().find(|step| step.name() == name)?,
            None => Step::Validate,
        };
        let asker = written.subject.zip(written.issuer);
        let asker = asker.map(|(subject, issuer)| Asker { issuer, subject, recorded: written.principal });
        let time = written.time.parse().ok()?;
        let line = Self { time, outcome, rule: written.rule, asker, step, request };
        (line.request.is_none() || line.facts().is_some()).then_some(line)
    }

    /// What was asked; none if it could not be read then.
    pub(super) fn facts(&self) -> Option<RequestFacts<'_>> {
        let Request { set, method, host, target, client } = self.request.as_ref()?;
        Some(RequestFacts {
            rule_set: set.as_deref(),
            method: Method::parse(method.as_bytes()).ok()?,
            host: Host::parse(host.as_bytes()).ok()?,
            path: CanonicalPath::parse(target.as_bytes()).ok()?,
            preflight: None,
            client: *client,
        })
    }

    /// What was asked, for people. Both texts were read by the readers of requests: nothing in them moves a cursor.
    pub(super) fn request(&self) -> String {
        let Some(RequestFacts { method, host, path, client, .. }) = self.facts() else {
            return "a request that could not be read".to_owned();
        };
        format!("{} {}{} from {client}", method.as_str(), host.as_str(), path.as_str())
    }

    pub(super) fn at(&self) -> UnixTime {
        UnixTime::from_micros(self.time.as_microsecond())
    }
}

impl Asker {
    /// The principal, as far as it was recorded.
    pub(super) fn principal(&self) -> Principal {
        fn texts(list: Option<&Vec<String>>) -> impl Iterator<Item = &str> {
            list.into_iter().flatten().map(String::as_str)
        }
        let recorded = self.recorded.as_ref();
        let there = recorded.into_iter().flat_map(|recorded| &recorded.claims).filter(|(_, claim)| !claim.is_null());
        let claims: Map<String, Value> = there.map(|(name, claim)| (name.clone(), claim.clone())).collect();
        Principal::new(
            self.issuer.as_str(),
            &self.subject,
            texts(recorded.map(|recorded| &recorded.roles)),
            texts(recorded.map(|recorded| &recorded.groups)),
            texts(recorded.map(|recorded| &recorded.scopes)),
            recorded.and_then(|recorded| recorded.tier.as_deref()),
            claims,
        )
    }
}

/// A path that was decoded, as a target again. What stands for itself stays, so that a path that nobody can have asked for is still none.
fn target(path: &str) -> String {
    path.bytes().map(|b| if b.is_ascii_graphic() { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever path was judged is judged again.
        #[test]
        fn a_recorded_path_is_read_as_it_was(raw in "/[!-~]{0,40}") {
            let Ok(path) = CanonicalPath::parse(raw.as_bytes()) else { return Ok(()) };
            let again = target(path.as_str());
            let again = CanonicalPath::parse(again.as_bytes()).expect("a path");
            prop_assert_eq!(again.as_str(), path.as_str());
        }
    }

    #[test]
    fn what_is_no_audit_line_is_none() {
        let good = r#"{"time":"2025-11-20T12:00:00.000001Z","decision":"deny","reason":"no_rule","rule":null,"subject":null,
            "issuer":null,"method":"GET","host":"h","path":"/caf\u00e9 x","client":"192.0.2.1","step":"validate"}"#;
        let line = Line::read(good.as_bytes()).expect("a line");
        assert_eq!(line.facts().expect("facts").path.as_str(), "/café x");
        for (from, to) in [
            ("deny", "allow"),
            ("no_rule", "nonsense"),
            ("\"h\"", "\"a,b\""),
            ("validate", "other"),
            ("/caf", "caf"),
            ("\"rule\":null", "\"rule\":\"\\u001b[2J\""),
            ("\"client\":\"192.0.2.1\"", "\"client\":null"),
            ("2025-11-20T12", "x"),
        ] {
            assert!(good.contains(from) && Line::read(good.replacen(from, to, 1).as_bytes()).is_none(), "{from}");
        }
    }
}
