//! A token in a cookie (RFC 6265 section 4.2).

use super::{Lines, is_token};
use crate::policy::Reason;

/// The value of the cookie `name`; none if it is absent or empty. Names count by letter case.
pub(super) fn token<'a>(lines: &Lines<'a>, name: &str) -> Result<Option<&'a str>, Reason> {
    let mut found = None;
    let pairs = lines.iter().flat_map(|line| line.split(|b| *b == b';'));
    for pair in pairs {
        let Some(rest) = pair.trim_ascii().strip_prefix(name.as_bytes()) else { continue };
        let Some(value) = rest.trim_ascii_start().strip_prefix(b"=") else { continue };
        // Some servers trim around the name (RFC 6265 section 5.2), and to them `jwt =x` is a second one; no client writes it so.
        if rest.first() != Some(&b'=') {
            return Err(Reason::MalformedCredential);
        }
        if found.replace(value).is_some() {
            return Err(Reason::DoubledCredential);
        }
    }
    match found.map(str::from_utf8) {
        None | Some(Ok("")) => Ok(None),
        Some(Ok(token)) if is_token(token.as_bytes()) => Ok(Some(token)),
        Some(Ok(_) | Err(_)) => Err(Reason::MalformedCredential),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&'static str]) -> Result<Option<&'static str>, Reason> {
        let mut all = Lines::default();
        lines.iter().for_each(|line| all.push(line.as_bytes()));
        token(&all, "jwt")
    }

    #[test]
    fn cookies() {
        assert_eq!(read(&["a=b; jwt=abc; c=d"]), Ok(Some("abc")));
        assert_eq!(read(&["a=b", "jwt=abc"]), Ok(Some("abc")));
        for absent in [&[][..], &["a=b"], &["JWT=abc"], &["xjwt=abc; jwtx=abc"], &["jwt="], &["jwt"], &["a=1,jwt=abc"]]
        {
            assert_eq!(read(absent), Ok(None), "{absent:?}");
        }
        assert_eq!(read(&["jwt=a; jwt=a"]), Err(Reason::DoubledCredential));
        assert_eq!(read(&["jwt=a", "jwt=b"]), Err(Reason::DoubledCredential));
        assert_eq!(read(&["jwt=a; jwt =b"]), Err(Reason::MalformedCredential));
        assert_eq!(read(&["jwt\t=b"]), Err(Reason::MalformedCredential));
        assert_eq!(read(&["jwt=a b"]), Err(Reason::MalformedCredential));
        assert_eq!(read(&["jwt=a,b=c"]), Err(Reason::MalformedCredential));
    }
}
