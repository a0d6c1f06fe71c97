//! What a token says, and what the gate would say to it.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::super::printed;
use super::hint::Compared;
use crate::clock::UnixTime;
use crate::config::Loaded;
use crate::policy::Reason;
use crate::token::{Check, Jws, Key, UnverifiedToken, Watch};

/// A token, looked at from all sides.
#[derive(Debug)]
pub(super) struct Inspection {
    header: Option<Map<String, Value>>,
    claims: Option<Map<String, Value>>,
    /// How many characters its last part has. What they are would make the print a credential.
    signature: Option<usize>,
    /// The configured issuer that it names, or that would be asked about it.
    issuer: Option<String>,
    /// The key that signed it; while that is not known, those that would be tried.
    keys: Vec<(Option<String>, String)>,
    checks: Vec<(Check, Result<(), Reason>)>,
    verdict: Result<(), Reason>,
    /// What was compared, if that explains it.
    hint: Option<String>,
}

/// Writes down the checks as the gate makes them.
#[derive(Debug, Default)]
struct Notes(Vec<(Check, Result<(), Reason>)>);

impl Watch for Notes {
    fn made<T>(&mut self, check: Check, result: Result<T, Reason>) -> Result<T, Reason> {
        self.0.push((check, result.as_ref().map(|_| ()).map_err(|reason| *reason)));
        result
    }
}

impl Inspection {
    pub(super) fn of(token: &str, loaded: &Loaded, now: UnixTime) -> Self {
        let authenticator = loaded.gate.authenticator();
        let mut notes = Notes::default();
        let verdict = authenticator.inspect(token, now, &mut notes);
        let (jws, unverified) = (Jws::parse(token).ok(), UnverifiedToken::parse(token).ok());
        let found = unverified.as_ref().and_then(|token| authenticator.issuer_of(token).ok());
        let set = found.and_then(|(index, _)| authenticator.keys().current(index));
        let is_signed = notes.0.contains(&(Check::Signature, Ok(())));
        let keys = jws.as_ref().zip(set.as_deref()).map(|(jws, set)| {
            let signer = set.signer(jws).ok().filter(|_| is_signed);
            signer.map_or_else(|| set.candidates(jws).unwrap_or_default(), |key| vec![key])
        });
        let compared = Compared {
            token,
            jws: jws.as_ref(),
            claims: unverified.as_ref().map(UnverifiedToken::claims),
            issuer: found.map(|(_, issuer)| &**issuer),
            all: authenticator.issuers().collect(),
            keys: set.as_deref(),
        };
        let hint = verdict.err().and_then(|reason| compared.hint(reason));
        let asked = || authenticator.issuers().find(|issuer| jws.is_none() && issuer.issues_opaque(token));
        let issuer = found.map(|(_, issuer)| &**issuer).or_else(asked);
        let issuer = issuer.map(|issuer| issuer.name.to_string());
        Self {
            header: jws.as_ref().map(|jws| jws.header().clone()),
            claims: unverified.as_ref().map(|token| token.claims().clone()),
            signature: jws.and_then(|_| token.rsplit('.').next().map(str::len)),
            issuer,
            keys: keys.unwrap_or_default().into_iter().map(|key| described(key)).collect(),
            checks: notes.0,
            verdict,
            hint,
        }
    }

    /// Its code and what it means. What its issuer would have to be asked about is not judged: nobody is asked here.
    fn verdict(&self) -> (&'static str, String) {
        match self.verdict {
            Ok(()) => (GOOD, "whoever sends it is known; what he may, the policy says".to_owned()),
            Err(ASK) => {
                let name = self.issuer.as_deref().unwrap_or_default();
                (
                    NOT_JUDGED,
                    format!("its issuer {name} would have to be asked, as the gate does and this command does not"),
                )
            }
            Err(reason) => {
                let hint = self.hint.as_ref().map(|hint| format!(": {hint}"));
                (reason.code(), format!("{}{}", reason.meaning(), hint.unwrap_or_default()))
            }
        }
    }

    /// Whether the gate would believe it.
    pub(super) fn passes(&self) -> bool {
        self.verdict.is_ok()
    }

    /// Every check there is, with its result; none if an earlier one failed.
    fn results(&self) -> impl Iterator<Item = (Check, Option<Result<(), Reason>>)> {
        let result = |check: &Check| self.checks.iter().find(|(made, _)| made == check).map(|(_, result)| *result);
        Check::ALL.iter().map(move |check| (*check, result(check)))
    }

    pub(super) fn json(&self) -> String {
        let checks = self.results().map(|(check, result)| match result {
            None => json!({"check": check.name(), "result": "not_reached"}),
            Some(Ok(())) => json!({"check": check.name(), "result": "ok"}),
            Some(Err(ASK)) => json!({"check": check.name(), "result": NOT_JUDGED}),
            Some(Err(reason)) => json!({"check": check.name(), "result": "failed", "reason": reason.code()}),
        });
        let keys = self.keys.iter().map(|(kid, algorithms)| json!({"kid": kid, "algorithms": algorithms}));
        printed::pretty(&json!({
            "passes": self.passes(),
            "verdict": self.verdict().0,
            "hint": self.hint,
            "header": self.header,
            "claims": self.claims,
            "signature_characters": self.signature,
            "issuer": self.issuer,
            "keys": keys.collect::<Vec<_>>(),
            "checks": checks.collect::<Vec<_>>(),
        }))
    }

    pub(super) fn text(&self, coloured: bool) -> String {
        let paint = |colour: &str, text: String| if coloured { format!("\x1b[{colour}m{text}\x1b[0m") } else { text };
        let mut lines = Vec::new();
        for (title, members) in [("header", &self.header), ("claims, as the token says", &self.claims)] {
            lines.push(title.to_owned());
            match members {
                Some(members) => lines.extend(members.iter().map(|(name, value)| member(name, value))),
                None => lines.push("  cannot be read".to_owned()),
            }
        }
        let signature = self.signature.map_or("none".to_owned(), |length| format!("{length} characters, not shown"));
        lines.push(format!("signature      {signature}"));
        lines.push(format!("issuer         {}", self.issuer.as_deref().unwrap_or("none that is configured")));
        let key = |(kid, algorithms): &(Option<String>, String)| {
            format!("{} for {algorithms}", kid.as_ref().map_or("one without a name".to_owned(), printed::json))
        };
        let keys = self.keys.iter().map(key).collect::<Vec<_>>().join(", ");
        lines.push(format!("key            {}", if keys.is_empty() { "none" } else { &keys }));
        lines.push("checks".to_owned());
        for (check, result) in self.results() {
            let (colour, word) = match result {
                Some(Ok(())) => (GREEN, "ok"),
                Some(Err(ASK)) => (YELLOW, "not judged"),
                Some(Err(_)) => (RED, "failed"),
                None => (FAINT, "not reached"),
            };
            let reason = result
                .and_then(Result::err)
                .filter(|reason| *reason != ASK)
                .map(|reason| format!(" - {}", reason.code()));
            let asks = format!("{:<10} {}?{}", check.name(), check.asks(), reason.unwrap_or_default());
            lines.push(format!("  {} {asks}", paint(colour, format!("{word:<12}"))));
        }
        let (code, meaning) = self.verdict();
        let colour = match self.verdict {
            Ok(()) => GREEN,
            Err(ASK) => YELLOW,
            Err(_) => RED,
        };
        lines.push(paint(colour, format!("verdict: {code} - {meaning}")));
        lines.join("\n")
    }
}

/// The verdict on a token that passes; the others are reason codes, of which none is called so.
const GOOD: &str = "good";

/// The verdict on a token that only its issuer can judge, and how the checks say so.
const NOT_JUDGED: &str = "not_judged";
const ASK: Reason = Reason::IntrospectionFailed;

/// Select Graphic Rendition (ECMA-48 section 8.3.117).
const GREEN: &str = "32";
const RED: &str = "31";
const YELLOW: &str = "33";
const FAINT: &str = "2";

/// The claims that are moments (RFC 7519 section 4.1, OpenID Connect Core section 2).
const MOMENTS: [&str; 4] = ["exp", "nbf", "iat", "auth_time"];

/// Last second of the year 9999, the last that can be written as a date.
const LAST_SECOND: f64 = 253_402_300_799.0;

fn member(name: &str, value: &Value) -> String {
    let moment = value.as_f64().filter(|seconds| MOMENTS.contains(&name) && (0.0..=LAST_SECOND).contains(seconds));
    let date =
        moment.map(|seconds| seconds as u64).and_then(|seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds)));
    let date = date.map(|date| format!(" ({})", humantime::format_rfc3339_seconds(date))).unwrap_or_default();
    let name = printed::json(&name);
    let name = name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or_default();
    format!("  {name:<12} {}{date}", printed::json(value))
}

fn described(key: &Key) -> (Option<String>, String) {
    let algorithms: Vec<String> = key.algorithms().iter().map(|algorithm| format!("{algorithm:?}")).collect();
    (key.kid().map(str::to_owned), algorithms.join(", "))
}
