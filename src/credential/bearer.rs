//! `Authorization: Bearer TOKEN` (RFC 6750 section 2.1).

use super::{Lines, is_token};
use crate::policy::Reason;

/// The bearer token; none if there is no `Authorization` or one of another scheme.
pub(super) fn token<'a>(lines: &Lines<'a>) -> Result<Option<&'a str>, Reason> {
    let Some(line) = lines.only(Reason::DoubledCredential)? else {
        return Ok(None);
    };
    let line = line.trim_ascii();
    let scheme_end = line.iter().position(|b| *b == b' ').unwrap_or(line.len());
    let (scheme, token) = line.split_at(scheme_end);
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Ok(None);
    }
    match str::from_utf8(token.trim_ascii_start()) {
        Ok(token) if is_token(token.as_bytes()) => Ok(Some(token)),
        Ok(_) | Err(_) => Err(Reason::MalformedCredential),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&'static str]) -> Result<Option<&'static str>, Reason> {
        let mut all = Lines::default();
        lines.iter().for_each(|line| all.push(line.as_bytes()));
        token(&all)
    }

    #[test]
    fn bearer_tokens() {
        assert_eq!(read(&["Bearer abc"]), Ok(Some("abc")));
        assert_eq!(read(&["bEARER   abc "]), Ok(Some("abc")));
        for absent in [&[][..], &["Basic abc"], &["Bearerabc"], &[""]] {
            assert_eq!(read(absent), Ok(None), "{absent:?}");
        }
        for broken in ["Bearer", "Bearer ", "Bearer a b", "Bearer a,b", "Bearer \u{e9}"] {
            assert_eq!(read(&[broken]), Err(Reason::MalformedCredential), "{broken}");
        }
        assert_eq!(read(&["Bearer a", "Bearer a"]), Err(Reason::DoubledCredential));
        assert_eq!(read(&["Basic a", "Bearer a"]), Err(Reason::DoubledCredential));
    }
}
