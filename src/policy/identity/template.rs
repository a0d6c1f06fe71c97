//! The value of an additional identity header, put together from claims: `{tenant}/{sub}`, `{email|unknown}`.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::text_of;
use crate::policy::ClaimPath;

/// A compiled template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
    /// The marks of its own texts. Within a value they are encoded, so that no claim of one place can pass for another place's.
    marks: Box<[u8]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Claim(ClaimPath, Option<Box<str>>),
}

impl Template {
    /// The value of one claim, or else the default, which is in visible ASCII.
    #[must_use]
    pub fn claim(path: ClaimPath, default: Option<&str>) -> Self {
        Self { parts: vec![Part::Claim(path, default.map(Into::into))], marks: Box::default() }
    }

    /// Reads a template: texts of visible ASCII, and claims in braces, each with an optional default behind a `|`.
    ///
    /// # Errors
    /// What is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let (before, claim) = rest.split_once('{').map_or((rest, None), |(before, claim)| (before, Some(claim)));
            if !before.is_empty() {
                if !is_plain(before) {
                    return Err(format!("`{before}` holds a brace, a percent sign or what is no visible ASCII"));
                }
                parts.push(Part::Text(before.into()));
            }
            let Some(claim) = claim else { break };
            let (claim, behind) = claim.split_once('}').ok_or("a brace is not closed")?;
            let (path, default) = claim.split_once('|').map_or((claim, None), |(path, default)| (path, Some(default)));
            let path = ClaimPath::new(path);
            if !path.is_sane() {
                return Err(format!("`{claim}` names no claim"));
            }
            if default.is_some_and(|default| !is_plain(default)) {
                return Err(format!("the default of `{path}` holds a percent sign or what is no visible ASCII"));
            }
            parts.push(Part::Claim(path, default.map(Into::into)));
            rest = behind;
        }
        if !parts.iter().any(|part| matches!(part, Part::Claim(..))) {
            return Err("it names no claim, so that its value says nothing of anybody".into());
        }
        let mut since_claim = None;
        for part in &parts {
            match part {
                Part::Claim(path, _) => {
                    if since_claim == Some(false) {
                        return Err(format!("nothing tells where `{path}` begins: put a mark such as `/` before it"));
                    }
                    since_claim = Some(false);
                }
                Part::Text(text) => {
                    let marks = text.bytes().any(|b| !b.is_ascii_alphanumeric());
                    since_claim = since_claim.map(|before| before || marks);
                }
            }
        }
        let texts = parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text.bytes()),
            Part::Claim(..) => None,
        });
        let marks = texts.flatten().filter(|b| !b.is_ascii_alphanumeric()).collect();
        Ok(Self { parts, marks })
    }

    /// The claims that it reads.
    pub fn claims(&self) -> impl Iterator<Item = &ClaimPath> {
        self.parts.iter().filter_map(|part| match part {
            Part::Claim(path, _) => Some(path),
            Part::Text(_) => None,
        })
    }

    /// The value, encoded; none if a claim without a default is absent.
    #[must_use]
    pub fn fill(&self, claims: &Map<String, Value>) -> Option<String> {
        let mut value = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => value.push_str(text),
                Part::Claim(path, default) => {
                    let found = path.find(claims).and_then(text_of).filter(|text| !text.is_empty());
                    self.push(&mut value, &found.or_else(|| default.as_deref().map(Into::into))?);
                }
            }
        }
        Some(value)
    }

    fn push(&self, value: &mut String, text: &str) {
        for c in text.chars() {
            match u8::try_from(c) {
                Ok(mark) if self.marks.contains(&mark) => write!(value, "%{mark:02X}").unwrap_or_default(),
                Ok(_) | Err(_) => value.push(c),
            }
        }
    }
}

/// Whether it can stand in a header unencoded.
pub(in crate::policy) fn is_plain(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_graphic() && !b"%{}".contains(&b))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fill(template: &str, claims: &Value) -> Option<String> {
        Template::parse(template).expect("template").fill(claims.as_object().expect("object"))
    }

    #[test]
    fn claims_stand_where_the_template_says() {
        let claims =
            json!({"sub": "ann", "org": {"id": 7}, "groups": ["a", "b,admin"], "empty": "", "name": "Bj\u{f6}rn"});
        let table = [
            ("{sub}", Some("ann")),
            ("{org.id}/{sub}", Some("7/ann")),
            ("{email|unknown}", Some("unknown")),
            ("{empty|none}", Some("none")),
            ("{email}", None),
            ("user:{sub}@{email}", None),
            ("{groups}", Some("a,b%2Cadmin")),
            ("{name}", Some("Bj%C3%B6rn")),
        ];
        for (template, wanted) in table {
            assert_eq!(fill(template, &claims).as_deref(), wanted, "{template}");
        }
    }

    #[test]
    fn t_d7_a_claim_cannot_pass_for_another_places() {
        assert_eq!(fill("{a}/{b}", &json!({"a": "x/admin", "b": "y"})).as_deref(), Some("x%2Fadmin/y"));
        assert_eq!(fill("{a};{b}", &json!({"a": ["x", "y;z"], "b": "\n"})).as_deref(), Some("x,y%3Bz;%0A"));
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for text in [
            "",
            "plain",
            "{",
            "{sub",
            "}",
            "{}",
            "{a..b}",
            "a b{sub}",
            "\u{e9}{sub}",
            "%{sub}",
            "{sub|a b}",
            "{{sub}}",
            "{a}{b}",
            "{a}of{b}",
        ] {
            assert!(Template::parse(text).is_err(), "{text}");
        }
    }
}
