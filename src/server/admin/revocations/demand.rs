//! What is to be revoked, as it is asked for.

use serde::Deserialize;

use super::super::issuer::issuer;
use crate::clock::UnixTime;
use crate::gate::Gate;
use crate::revocations::entry::MAX_VALUE_BYTES;
use crate::revocations::{Entry, GRACE, What};
use crate::token::issuer::LONGEST_LEEWAY;
use crate::token::{Issuer, UnverifiedToken};

/// Longest reason, in bytes: a sentence, not a file.
const MAX_REASON_BYTES: usize = 256;

/// Last moment that makes sense, in seconds: the end of the year 9999.
const MAX_SECONDS: f64 = 253_402_300_799.0;

/// When a token ends that never does.
const END_OF_TIME: UnixTime = UnixTime::from_secs(253_402_300_799);

/// The body of `POST /revocations`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Demand {
    /// The issuer's configured name; may be left out if there is one only.
    issuer: Option<String>,
    jti: Option<String>,
    sid: Option<String>,
    subject: Option<String>,
    /// A whole token, of which `iss`, `jti` and `exp` are read and nothing is believed: whoever may revoke may revoke anything.
    token: Option<String>,
    /// Seconds since 1970.
    issued_before: Option<f64>,
    /// When the last of the tokens ends (its `exp`), in seconds since 1970.
    expires_at: Option<f64>,
    /// The same as a length of time from now: `8h`.
    #[serde(rename = "for")]
    lasts: Option<String>,
    reason: Option<String>,
}

impl Demand {
    /// The entry, and when it ends: never before the tokens that it takes back.
    pub(super) fn entry(self, gate: &Gate, now: UnixTime) -> Result<(Entry, UnixTime), String> {
        if self.reason.as_ref().is_some_and(|reason| reason.len() > MAX_REASON_BYTES) {
            return Err(format!("`reason` is longer than {MAX_REASON_BYTES} bytes"));
        }
        let given = [&self.jti, &self.sid, &self.subject, &self.token];
        if given.iter().filter(|value| value.is_some()).count() != 1 {
            return Err("write exactly one of jti, sid, subject, token".to_owned());
        }
        if let Some(token) = &self.token {
            return self.of_token(gate, token, now);
        }
        let issuer = issuer(gate, self.issuer.as_deref())?;
        let (what, value) = self.what(now)?;
        let tokens_end = self.tokens_end(what, issuer, now)?;
        Ok((entry(what, issuer, value, self.reason.as_deref())?, tokens_end.after(GRACE)))
    }

    fn what(&self, now: UnixTime) -> Result<(What, &str), String> {
        let (what, value) = match (&self.jti, &self.sid, &self.subject) {
            (Some(jti), ..) => (What::Token, jti),
            (_, Some(sid), _) => (What::Session, sid),
            (.., subject) => {
                let issued_before = self.issued_before.map_or(Ok(now), |at| moment("issued_before", at))?;
                // The issuer's clock may be ahead; what lies behind that is a ban, which the policy is for.
                if issued_before > now.after(LONGEST_LEEWAY) {
                    return Err("`issued_before` lies in the future".to_owned());
                }
                (What::Subject { issued_before }, subject.as_ref().ok_or("write a subject")?)
            }
        };
        if self.issued_before.is_some() && !matches!(what, What::Subject { .. }) {
            return Err("`issued_before` belongs to a subject".to_owned());
        }
        Ok((what, value))
    }

    /// When the last of the tokens ends. That of one token may be known; those of a session or a subject are many, and each holds for
    /// as long as its issuer's may.
    fn tokens_end(&self, what: What, issuer: &Issuer, now: UnixTime) -> Result<UnixTime, String> {
        let given = match (self.expires_at, &self.lasts) {
            (None, None) => None,
            (Some(at), None) => Some(moment("expires_at", at)?),
            (None, Some(text)) => {
                let lasts = humantime::parse_duration(text).ok().filter(|lasts| lasts.as_secs_f64() <= MAX_SECONDS);
                Some(now.after(lasts.ok_or("`for` is a length of time, such as 30min or 8h")?))
            }
            (Some(_), Some(_)) => return Err("write `expires_at` or `for`, not both".to_owned()),
        };
        let latest = match what {
            What::Token | What::Session => now,
            What::Subject { issued_before } => issued_before.max(now),
        };
        let latest = if issuer.may_be_endless() { END_OF_TIME } else { latest.after(issuer.terms.max_lifetime) };
        match (given, what) {
            (None, _) => Ok(latest),
            (Some(end), What::Token) if end <= now => Err("the token has ended already".to_owned()),
            (Some(end), What::Token) => Ok(end),
            (Some(end), _) if end < latest => Err(
                "tokens of this issuer may hold for longer: the revocation would end before them; leave the end out"
                    .to_owned(),
            ),
            (Some(end), _) => Ok(end),
        }
    }

    fn of_token(&self, gate: &Gate, token: &str, now: UnixTime) -> Result<(Entry, UnixTime), String> {
        if self.issuer.is_some() || self.issued_before.is_some() || self.expires_at.is_some() || self.lasts.is_some() {
            return Err("a token says itself whose it is and when it ends: write nothing else but `reason`".to_owned());
        }
        let token = UnverifiedToken::parse(token).map_err(|reason| {
            let remedy = "what is opaque is revoked by the `jti` or `sid` of its issuer's answer, or with its subject";
            format!("this is no token that can be read: {}; {remedy}", reason.meaning())
        })?;
        let mut issuers = gate.authenticator().issuers();
        let issuer = issuers.find(|issuer| token.issuer() == Some(&*issuer.issuer));
        let issuer = issuer.ok_or("the token is of no configured issuer")?;
        let jti = token.claims().get("jti").and_then(serde_json::Value::as_str);
        let jti = jti.ok_or("the token has no `jti`: revoke its session or its subject")?;
        let end = match token.claims().get("exp") {
            None if issuer.terms.may_be_endless => END_OF_TIME,
            exp => moment("exp", exp.and_then(serde_json::Value::as_f64).ok_or("the token has no `exp`")?)?,
        };
        if end.after(LONGEST_LEEWAY) <= now {
            return Err("the token has ended already".to_owned());
        }
        Ok((entry(What::Token, issuer, jti, self.reason.as_deref())?, end.after(GRACE)))
    }
}

fn entry(what: What, issuer: &Issuer, value: &str, reason: Option<&str>) -> Result<Entry, String> {
    if value.is_empty() || value.len() > MAX_VALUE_BYTES {
        return Err(format!("`{}` is empty or longer than {MAX_VALUE_BYTES} bytes", what.key()));
    }
    Ok(Entry { what, issuer: (&*issuer.issuer).into(), value: value.into(), reason: reason.map(Into::into) })
}

fn moment(name: &str, seconds: f64) -> Result<UnixTime, String> {
    let sane = (0.0..=MAX_SECONDS).contains(&seconds);
    let micros = sane.then_some((seconds * 1e6).ceil() as i64);
    micros.map(UnixTime::from_micros).ok_or(format!("`{name}` is no number of seconds since 1970"))
}
