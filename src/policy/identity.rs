//! The identity headers toward the upstream: which there are, and their values in an encoding that
//! no claim can break out of.

mod template;

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_json::Value;

use super::{Grant, Principal, Reason, Step};

pub use template::Template;
pub(in crate::policy) use template::is_plain;

/// Longest value of one identity header, in bytes, if the policy says nothing else: what common upstreams take (nginx 8 KiB for all
/// headers together, Go 1 MiB, Tomcat 8 KiB). More is refused, never cut: half a role list is a lie.
pub const MAX_VALUE_BYTES: usize = 8 * 1024;

/// The identity headers of a policy: user, roles, tier, then the additional ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityHeaders {
    /// The header that names the user (`sub`).
    pub user: Box<str>,
    /// The header that lists the roles.
    pub roles: Box<str>,
    /// The header that names the tier.
    pub tier: Box<str>,
    /// The tier of a principal whose token names none.
    pub default_tier: Box<str>,
    /// Additional headers, each from a claim.
    pub extra: Vec<(Box<str>, Template)>,
    /// Longest value of one of them, in bytes.
    pub max_value_bytes: usize,
    /// Whether a value that would have to be encoded is refused.
    pub refuses_encoded: bool,
    aliases: Box<str>,
}

impl IdentityHeaders {
    /// The headers with these names, which are in lower case; `extra` ones come from claims.
    #[must_use]
    pub fn new(user: &str, roles: &str, tier: &str, default_tier: &str, extra: Vec<(Box<str>, Template)>) -> Self {
        let mut headers = Self {
            user: user.into(),
            roles: roles.into(),
            tier: tier.into(),
            default_tier: wire_safe(default_tier).into(),
            extra,
            max_value_bytes: MAX_VALUE_BYTES,
            refuses_encoded: false,
            aliases: Box::default(),
        };
        headers.aliases = headers.names().flat_map(aliases).collect::<Vec<_>>().join(",").into();
        headers
    }

    /// The aliases of all identity headers, joined by commas: names that CGI, WSGI and PHP read as the header itself. A proxy
    /// that can is told to remove them. Empty if no header's name has a hyphen.
    #[must_use]
    pub fn aliases(&self) -> &str {
        &self.aliases
    }

    /// The names of all identity headers: every allow either sets each or names it for removal.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let fixed = [&*self.user, &*self.roles, &*self.tier];
        fixed.into_iter().chain(self.extra.iter().map(|(name, _)| &**name))
    }

    /// Each identity header with its encoded value under `grant`; none where there is nobody to
    /// name. After authentication alone, only the user is stated.
    pub fn values<'g>(&'g self, grant: &'g Grant) -> impl Iterator<Item = (&'g str, Option<&'g str>)> {
        let principal = grant.principal();
        let whole = principal.filter(|_| grant.step() != Step::Authenticate);
        let fixed = [
            (&*self.user, principal.map(Principal::wire_subject)),
            (&*self.roles, whole.map(Principal::wire_roles)),
            (&*self.tier, whole.map(|p| p.wire_tier().unwrap_or(&self.default_tier))),
        ];
        let extra = self
            .extra
            .iter()
            .enumerate()
            .map(move |(i, (name, _))| (&**name, whole.and_then(|_| grant.extras().get(i)?.as_deref())));
        fixed.into_iter().chain(extra)
    }

    /// The values of the additional headers, encoded.
    pub(in crate::policy) fn extras(&self, principal: &Principal) -> Vec<Option<String>> {
        self.extra.iter().map(|(_, template)| template.fill(principal.claims())).collect()
    }

    /// Whether every value may stand in a header.
    ///
    /// # Errors
    /// [`Reason::IdentityTooLarge`], [`Reason::IdentityUnsafe`].
    pub(in crate::policy) fn fit(&self, principal: &Principal, extras: &[Option<String>]) -> Result<(), Reason> {
        let fixed = [principal.wire_subject(), principal.wire_roles(), principal.wire_tier().unwrap_or("")];
        fixed.into_iter().chain(extras.iter().flatten().map(String::as_str)).try_for_each(|value| {
            // Nothing but the encoding writes a percent sign: it encodes those that it finds.
            match value.len() <= self.max_value_bytes {
                false => Err(Reason::IdentityTooLarge),
                true if self.refuses_encoded && value.contains('%') => Err(Reason::IdentityUnsafe),
                true => Ok(()),
            }
        })
    }
}

/// `name` with each `-` as `-`, `_` or `.`, in all combinations but the name itself. Names with many
/// hyphens get only the three uniform spellings, as the list would grow threefold with each.
fn aliases(name: &str) -> Vec<String> {
    const MOST_HYPHENS: usize = 3;
    let parts: Vec<&str> = name.split('-').collect();
    let Some((first, rest)) = parts.split_first() else {
        return Vec::new();
    };
    let mut spellings = vec![(*first).to_owned()];
    if rest.len() > MOST_HYPHENS {
        spellings = vec![name.replace('-', "_"), name.replace('-', ".")];
    } else {
        for part in rest {
            spellings =
                spellings.iter().flat_map(|begin| ["-", "_", "."].map(|mark| format!("{begin}{mark}{part}"))).collect();
        }
    }
    spellings.retain(|spelling| spelling != name);
    spellings
}

/// The encoded text of a claim: texts, numbers and booleans as they are, a list joined by commas.
fn text_of(claim: &Value) -> Option<String> {
    match claim {
        Value::String(text) => Some(wire_safe(text).into_owned()),
        Value::Number(_) | Value::Bool(_) => Some(claim.to_string()),
        Value::Array(items) => Some(joined(items.iter().filter_map(Value::as_str))),
        Value::Null | Value::Object(_) => None,
    }
}

/// `items`, each encoded, joined by commas.
pub(in crate::policy) fn joined<'i>(items: impl Iterator<Item = &'i str>) -> String {
    let mut list = String::new();
    for item in items {
        if !list.is_empty() {
            list.push(',');
        }
        list.push_str(&wire_safe(item));
    }
    list
}

/// Percent-encodes every byte but visible ASCII, and `,` and `%`: a role named `a,admin` becomes
/// `a%2Cadmin` and forges nothing, CR and LF cannot end the header, and decoding gives the text back.
#[must_use]
pub fn wire_safe(text: &str) -> Cow<'_, str> {
    let plain = |b: u8| b.is_ascii_graphic() && b != b',' && b != b'%';
    if text.bytes().all(plain) {
        return Cow::Borrowed(text);
    }
    let mut encoded = String::with_capacity(text.len().saturating_add(16));
    for byte in text.bytes() {
        if plain(byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            write!(encoded, "%{byte:02X}").ok();
        }
    }
    Cow::Owned(encoded)
}

/// The text that [`wire_safe`] encoded.
#[must_use]
pub fn from_wire(wire: &str) -> Cow<'_, str> {
    let mut parts = wire.split('%');
    let first = parts.next().unwrap_or("");
    if first.len() == wire.len() {
        return Cow::Borrowed(wire);
    }
    let mut bytes = first.as_bytes().to_vec();
    for part in parts {
        // Each `%` was written with two digits behind it.
        let (digits, rest) = part.split_at_checked(2).unwrap_or((part, ""));
        bytes.extend(u8::from_str_radix(digits, 16).ok());
        bytes.extend_from_slice(rest.as_bytes());
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn t_d4_aliases_are_every_mix_of_marks() {
        let all = aliases("x-user-id");
        assert_eq!(all.len(), 8);
        for alias in ["x_user_id", "x.user.id", "x-user.id", "x_user-id"] {
            assert!(all.iter().any(|a| a == alias), "{alias}");
        }
        assert!(aliases("user").is_empty());
        assert_eq!(aliases("a-b-c-d-e").join(" "), "a_b_c_d_e a.b.c.d.e");
    }

    #[test]
    fn t_d7_a_claim_cannot_break_out_of_its_header() {
        assert_eq!(wire_safe("auth0|abc@x"), "auth0|abc@x");
        assert_eq!(
            joined(["user", "a,admin", "b\r\nX-User-Role: admin", "é%"].into_iter()),
            "user,a%2Cadmin,b%0D%0AX-User-Role:%20admin,%C3%A9%25"
        );
    }

    proptest! {
        #[test]
        fn t_d7_the_encoding_is_visible_ascii_and_reversible(text in ".*") {
            let wire = wire_safe(&text);
            prop_assert!(wire.bytes().all(|b| b.is_ascii_graphic() && b != b','));
            prop_assert_eq!(from_wire(&wire), text.as_str());
        }
    }
}
