//! One revocation: what it takes back, how long it is kept, and how it is written down.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::clock::UnixTime;

/// Longest `jti`, `sid` or subject, in bytes: a token of 16 KiB holds no longer one that anybody uses.
pub const MAX_VALUE_BYTES: usize = 1024;

/// The name of an entry: 48 bits of the millisecond in which it was made, so that names stand in the order of time, and 80 random
/// ones, so that no two replicas make the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Id(u128);

impl Id {
    /// Before every other name.
    pub const FIRST: Self = Self(0);
    /// Behind every other name.
    pub const LAST: Self = Self(u128::MAX);

    /// A new name.
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub fn new(now: UnixTime) -> Result<Self, getrandom::Error> {
        let mut random = [0; 16];
        getrandom::fill(&mut random)?;
        let millis = u128::try_from(now.micros().div_euclid(1000)).unwrap_or(0);
        Ok(Self((millis << 80) | (u128::from_be_bytes(random) >> 48)))
    }

    /// When it was made, to the millisecond.
    #[must_use]
    pub fn made(self) -> UnixTime {
        UnixTime::from_micros(i64::try_from(self.0 >> 80).unwrap_or(i64::MAX).saturating_mul(1000))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl TryFrom<String> for Id {
    type Error = NoId;

    fn try_from(text: String) -> Result<Self, NoId> {
        text.parse()
    }
}

impl FromStr for Id {
    type Err = NoId;

    fn from_str(text: &str) -> Result<Self, NoId> {
        let sane = text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        u128::from_str_radix(text, 16).ok().filter(|_| sane).map(Self).ok_or(NoId)
    }
}

/// The text names no entry: it is not 32 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not 32 lower-case hexadecimal digits")]
pub struct NoId;

/// What is taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum What {
    /// One token, by its `jti`.
    Token,
    /// All tokens of a session, by their `sid`.
    Session,
    /// All tokens of a subject that were issued at this moment or before it. One that was issued in that very moment is taken
    /// back too, for it may be the stolen one, and `iat` is mostly cut to whole seconds; whoever signs in again a second later
    /// is let in.
    Subject {
        /// The moment.
        issued_before: UnixTime,
    },
}

impl What {
    /// The member of the admin API that names it.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Token => "jti",
            Self::Session => "sid",
            Self::Subject { .. } => "subject",
        }
    }

    /// The last `iat` that is hit.
    #[must_use]
    pub fn reaches(self) -> UnixTime {
        match self {
            Self::Token | Self::Session => UnixTime::from_micros(i64::MAX),
            Self::Subject { issued_before } => issued_before,
        }
    }
}

/// One revocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it takes back.
    pub what: What,
    /// The identifier (`iss`) of the issuer whose tokens it takes back.
    pub issuer: Arc<str>,
    /// The `jti`, the `sid` or the subject.
    pub value: Box<str>,
    /// Why, for people.
    pub reason: Option<Box<str>>,
}

/// An entry as it is kept: under its name, until its end. Lines only ever change from an entry to its removal, so replicas and
/// stores that have seen the same lines, in any order and any number of times, hold the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its name.
    pub id: Id,
    /// From when on no token that it takes back can hold any more, whoever's clock is asked.
    pub ends: UnixTime,
    /// The entry; none if it was removed. That it was is kept as long, so that nobody brings it back.
    pub entry: Option<Entry>,
}

impl Line {
    /// The entry as text; empty if it was removed.
    #[must_use]
    pub fn body(&self) -> String {
        let write = |entry: &Entry| {
            let (jti, sid, sub, before) = match entry.what {
                What::Token => (Some(&*entry.value), None, None, None),
                What::Session => (None, Some(&*entry.value), None, None),
                What::Subject { issued_before } => (None, None, Some(&*entry.value), Some(issued_before.micros())),
            };
            let why = entry.reason.as_deref();
            serde_json::to_string(&Body {
                iss: (&*entry.issuer).into(),
                jti,
                sid,
                sub,
                before,
                why: why.map(Into::into),
            })
        };
        // Texts and numbers can always be written.
        self.entry.as_ref().and_then(|entry| write(entry).ok()).unwrap_or_default()
    }

    /// The line as a store keeps it.
    #[must_use]
    pub fn written(&self) -> Written {
        Written { id: self.id, ends: self.ends, body: self.body() }
    }
}

/// A line as a store gives it back. Most are known already; only the others are read further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Its name.
    pub id: Id,
    /// Its end.
    pub ends: UnixTime,
    body: String,
}

impl Written {
    /// From what a store keeps: the name, the end in microseconds, and [`Line::body`].
    ///
    /// # Errors
    /// If the name is none.
    pub fn new(id: &str, ends_micros: i64, body: String) -> Result<Self, String> {
        let ends = UnixTime::from_micros(ends_micros);
        let wrong = |error: NoId| format!("the entry `{}` cannot be read: {error}", id.escape_debug());
        Ok(Self { id: id.parse().map_err(wrong)?, ends, body })
    }

    /// Whether the entry was removed.
    #[must_use]
    pub fn is_removal(&self) -> bool {
        self.body.is_empty()
    }

    /// The line.
    ///
    /// # Errors
    /// If the entry cannot be read. Nobody may pass over that: it could be what takes a token back.
    pub fn read(&self) -> Result<Line, String> {
        let why = |why: &dyn fmt::Display| format!("the entry `{}` cannot be read: {why}", self.id);
        let entry = match &*self.body {
            "" => None,
            text => {
                let body: Body<'_, String> = serde_json::from_str(text).map_err(|error| why(&error))?;
                Some(body.entry().ok_or_else(|| why(&"it takes nothing back"))?)
            }
        };
        Ok(Line { id: self.id, ends: self.ends, entry })
    }
}

/// How an entry is written down. An unknown member is a mistake: it could narrow or widen what is taken back.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body<'a, T> {
    iss: std::borrow::Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jti: Option<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sub: Option<T>,
    /// In microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<std::borrow::Cow<'a, str>>,
}

impl Body<'_, String> {
    fn entry(self) -> Option<Entry> {
        let (what, value) = match (self.jti, self.sid, self.sub, self.before) {
            (Some(jti), None, None, None) => (What::Token, jti),
            (None, Some(sid), None, None) => (What::Session, sid),
            (None, None, Some(sub), Some(before)) => {
                (What::Subject { issued_before: UnixTime::from_micros(before) }, sub)
            }
            _ => return None,
        };
        let reason = self.why.map(|why| Box::from(&*why));
        Some(Entry { what, issuer: Arc::from(&*self.iss), value: value.into(), reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(what: What) -> Line {
        let entry =
            Entry { what, issuer: "https://id".into(), value: "a \"b\" \u{1F600}".into(), reason: Some("x".into()) };
        Line { id: Id(7), ends: UnixTime::from_secs(9), entry: Some(entry) }
    }

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let subject = What::Subject { issued_before: UnixTime::from_micros(-5) };
        let removed = Line { entry: None, ..line(What::Token) };
        for line in [line(What::Token), line(What::Session), line(subject), removed] {
            let again = Written::new(&line.id.to_string(), line.ends.micros(), line.body()).expect("a name");
            assert_eq!((again.read().as_ref(), again.is_removal()), (Ok(&line), line.entry.is_none()));
            assert_eq!(again, line.written());
        }
    }

    #[test]
    fn what_could_narrow_or_widen_an_entry_is_not_passed_over() {
        let id = Id(7).to_string();
        for bad in [
            "{}",
            "x",
            r#"{"iss":"a"}"#,
            r#"{"iss":"a","jti":"b","sid":"c"}"#,
            r#"{"iss":"a","sub":"b"}"#,
            r#"{"iss":"a","jti":"b","before":1}"#,
            r#"{"iss":"a","jti":"b","more":1}"#,
            r#"{"jti":"b"}"#,
        ] {
            assert!(Written::new(&id, 0, bad.to_owned()).expect("a name").read().is_err(), "{bad}");
        }
        assert!(Written::new("7", 0, String::new()).is_err());
    }

    #[test]
    fn names_stand_in_the_order_of_time_and_are_read_in_one_spelling() {
        let early = Id::new(UnixTime::from_secs(1_000)).expect("random");
        let late = Id::new(UnixTime::from_secs(1_001)).expect("random");
        assert!(Id::FIRST < early && early < late && late < Id::LAST);
        assert_eq!(late.made(), UnixTime::from_secs(1_001));
        assert_eq!(late.to_string().parse(), Ok(late));
        for bad in ["", "7", "+0000000000000000000000000000007", &late.to_string().to_uppercase().replace('0', "A")] {
            assert_eq!(bad.parse::<Id>(), Err(NoId), "{bad}");
        }
    }
}
