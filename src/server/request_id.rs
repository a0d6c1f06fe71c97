//! `X-Request-ID`: kept if sane, else made.

use std::borrow::Cow;

use crate::protocol::{Field, Fields};

/// Longest id that is kept, in bytes; a UUID has 36.
const MAX_BYTES: usize = 128;

/// The id of a request: the proxy's or client's own if there is exactly one and it is of letters,
/// digits and `- _ . : + / = @`, else 128 random bits. It names a request and guards nothing.
#[must_use]
pub fn of<'a>(fields: &Fields<'a>) -> Cow<'a, str> {
    let given = fields.only(Field::RequestId).ok().flatten().and_then(|id| str::from_utf8(id).ok());
    match given {
        Some(id) if is_sane(id) => Cow::Borrowed(id),
        Some(_) | None => Cow::Owned(format!("{:032x}", fastrand::u128(..))),
    }
}

fn is_sane(id: &str) -> bool {
    (1..=MAX_BYTES).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:+/=@".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sane_ids_are_kept_and_others_replaced() {
        let id = |lines: &[&'static str]| {
            let mut fields = Fields::default();
            lines.iter().for_each(|line| fields.push(Field::RequestId, line.as_bytes()));
            of(&fields).into_owned()
        };
        assert_eq!(id(&["6f1c1c3e-0b5a-4a6f"]), "6f1c1c3e-0b5a-4a6f");
        for bad in [&[][..], &[""], &["a b"], &["\"}"], &["a", "b"]] {
            let made = id(bad);
            assert!(made.len() == 32 && made.bytes().all(|b| b.is_ascii_hexdigit()), "{bad:?}: {made}");
        }
        assert_ne!(id(&[]), id(&[]));
    }
}
