//! `Authorization: Bearer TOKEN` (RFC 6750 section 2.1).

use super::{Lines, is_token};
use crate::policy::Reason;

/// The bearer token; none if there is no `Authorization` or one of another scheme.
pub(super) fn token<'a>(lines: &Lines<'a>) -> Result<Option<&'a str>, Reason> {
    let Some(line) = lines.only(Reason::DoubledCredential)? else {
        return Ok(None);
    };
    let line = line.trim_ascii();
    let behind = behind_bearer(line);
    if let Some(token) = behind.and_then(one_token) {
        return Ok(Some(token));
    }
    // Proxies join lines by commas, which no token holds; what then starts with `Bearer` was a line of its own.
    if line.split(|b| *b == b',').skip(1).any(|part| behind_bearer(part.trim_ascii()).is_some()) {
        return Err(Reason::DoubledCredential);
    }
    behind.map_or(Ok(None), |_| Err(Reason::MalformedCredential))
}

/// The token behind the scheme. Only spaces part the two; some servers take a tab, and would see what we do not.
fn one_token(behind: &[u8]) -> Option<&str> {
    let spaces = behind.iter().take_while(|b| **b == b' ').count();
    let token = behind.get(spaces..).filter(|token| is_token(token))?;
    str::from_utf8(token).ok()
}

/// What stands behind the scheme `Bearer`, if that is the scheme.
fn behind_bearer(credentials: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = credentials.split_at_checked(b"bearer".len())?;
    let ends = rest.first().is_none_or(u8::is_ascii_whitespace);
    (scheme.eq_ignore_ascii_case(b"bearer") && ends).then_some(rest)
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
        for broken in ["Bearer", "Bearer ", "Bearer a b", "Bearer a,b", "Bearer \u{e9}", "Bearer\ta", "Bearer \ta"] {
            assert_eq!(read(&[broken]), Err(Reason::MalformedCredential), "{broken}");
        }
        assert_eq!(read(&["Bearer a", "Bearer a"]), Err(Reason::DoubledCredential));
        for joined in ["Basic x,Bearer a", "Basic x, bearer a", "Bearer a,Bearer b", "Digest a=b, Bearer\tc"] {
            assert_eq!(read(&[joined]), Err(Reason::DoubledCredential), "{joined}");
        }
        assert_eq!(read(&["Digest realm=\"bearer x\", nonce=b"]), Ok(None));
        assert_eq!(read(&["Basic a", "Bearer a"]), Err(Reason::DoubledCredential));
    }
}
