//! What the check that failed compared, in words: the values of the token beside those of the settings.

use serde_json::{Map, Value, json};

use super::super::printed;
use crate::policy::Reason;
use crate::token::issuer::Audiences;
use crate::token::{Issuer, Jws, KeySet};

/// What is there to compare.
#[derive(Debug)]
pub(super) struct Compared<'a> {
    pub(super) token: &'a str,
    pub(super) jws: Option<&'a Jws<'a>>,
    pub(super) claims: Option<&'a Map<String, Value>>,
    /// The issuer that the token names.
    pub(super) issuer: Option<&'a Issuer>,
    pub(super) all: Vec<&'a Issuer>,
    pub(super) keys: Option<&'a KeySet>,
}

type Hint = fn(&Compared<'_>) -> Option<String>;

impl Compared<'_> {
    /// The hint, if there is one that says more than the reason itself.
    pub(super) fn hint(&self, reason: Reason) -> Option<String> {
        const HINTS: [(Reason, Hint); 9] = [
            (Reason::MalformedToken, |it| it.form().map(str::to_owned)),
            (Reason::UnknownIssuer, |it| Some(it.unknown_issuer())),
            (Reason::WrongAudience, |it| it.wrong_audience()),
            (Reason::WrongParty, |it| it.wrong_party()),
            (Reason::WrongType, |it| it.wrong_type()),
            (Reason::UnknownKey, |it| it.unknown_key()),
            (Reason::AlgorithmNotAllowed, |it| Some(format!("`alg` is {}", it.header("alg")))),
            (Reason::KeysUnavailable, |_| Some("they are fetched, and nobody is asked here: say --fetch".to_owned())),
            (Reason::MalformedClaim, |it| it.malformed().map(|name| format!("`{name}` is {}", it.said(name)))),
        ];
        HINTS.iter().find(|(of, _)| *of == reason).and_then(|(_, hint)| hint(self))
    }

    fn wrong_audience(&self) -> Option<String> {
        let Audiences::OneOf(ours) = &self.issuer?.audiences else { return None };
        Some(format!("`aud` is {}; `audiences` are {}", self.said("aud"), list(ours)))
    }

    fn wrong_party(&self) -> Option<String> {
        let party = if self.claims?.contains_key("azp") { "azp" } else { "client_id" };
        let ours = list(&self.issuer?.authorized_parties);
        Some(format!("`{party}` is {}; `authorized_parties` are {ours}", self.said(party)))
    }

    fn wrong_type(&self) -> Option<String> {
        let accepts = &self.issuer?.accepts;
        let untyped = accepts.untyped.then_some("none");
        let types: Vec<&str> = accepts.types.iter().map(|typ| &**typ).chain(untyped).collect();
        Some(format!("the header's `typ` is {}; `types` are {}", self.header("typ"), list(&types)))
    }

    fn unknown_key(&self) -> Option<String> {
        let mut names: Vec<&str> = self.keys?.kids().collect();
        names.sort_unstable();
        Some(format!("`kid` is {}; the issuer's keys are {}", self.header("kid"), list(&names)))
    }

    fn form(&self) -> Option<&'static str> {
        let start = self.token.get(..7).unwrap_or_default();
        if self.token.is_empty() {
            Some("nothing came on standard input")
        } else if start.eq_ignore_ascii_case("bearer ") {
            Some("leave out the word `Bearer`, which is no part of the token")
        } else if self.token.split('.').count() == 5 {
            Some("five parts are an encrypted token (JWE), and none is read here")
        } else {
            None
        }
    }

    fn unknown_issuer(&self) -> String {
        let said = self.claims.and_then(|claims| claims.get("iss")).and_then(Value::as_str).unwrap_or_default();
        let same = |issuer: &&&Issuer| issuer.issuer.trim_end_matches('/') == said.trim_end_matches('/');
        if let Some(near) = self.all.iter().find(same) {
            let near = printed::json(&near.issuer);
            return format!("`iss` is {}; {near} is configured: only the slash at the end differs", self.said("iss"));
        }
        let ours: Vec<&str> = self.all.iter().map(|issuer| &*issuer.issuer).collect();
        format!("`iss` is {}; configured are {}", self.said("iss"), list(&ours))
    }

    /// The claim that is not as it must be, as far as the gate itself reads it.
    fn malformed(&self) -> Option<&'static str> {
        let claims = self.claims?;
        let is_list =
            |value: &Value| value.as_array().is_some_and(|all| !all.is_empty() && all.iter().all(Value::is_string));
        let is_moment = |value: &Value| value.as_f64().is_some_and(|seconds| (0.0..1e12).contains(&seconds));
        let is_name = |value: &Value| value.is_null() || value.as_str().is_some_and(|name| !name.is_empty());
        let wrong =
            |name: &str, is_good: &dyn Fn(&Value) -> bool| claims.get(name).is_some_and(|value| !is_good(value));
        let moments = ["exp", "nbf", "iat"].into_iter().find(|name| wrong(name, &is_moment));
        let audience = || wrong("aud", &|value| value.is_string() || is_list(value)).then_some("aud");
        let names = || ["sub", "jti", "sid"].into_iter().find(|name| wrong(name, &is_name));
        moments.or_else(audience).or_else(names)
    }

    fn said(&self, name: &str) -> String {
        self.claims.and_then(|claims| claims.get(name)).map_or("missing".to_owned(), printed::json)
    }

    fn header(&self, name: &str) -> String {
        self.jws.and_then(|jws| jws.header().get(name)).map_or("missing".to_owned(), printed::json)
    }
}

/// At most so many names stand in a list: who has more looks them up.
const MOST: usize = 10;

fn list<T: AsRef<str>>(names: &[T]) -> String {
    let some: Vec<&str> = names.iter().take(MOST).map(AsRef::as_ref).collect();
    let more = names.len().saturating_sub(MOST);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{}{more}", printed::json(&json!(some)))
}
