//! The name of a bucket: the same in every replica, and never that of another one.
//!
//! `per-user,user:keycloak,alice` is the limit, then for each thing that it tells apart a word and its values. The values are in the
//! encoding of identity headers, in which no comma stands, and each word is followed by a fixed number of them: so no value can pass
//! for two, and no two askers have one name.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv6Addr};

use serde_json::{Map, Value};

use super::{Applied, By};
use crate::policy::identity::wire_safe;
use crate::policy::{ClaimPath, Principal};

/// Whose request it is, as far as buckets are told apart by it.
#[derive(Debug, Clone, Copy)]
pub struct Whose<'a> {
    /// The rule that takes it.
    pub rule: &'a str,
    /// Where it comes from.
    pub client: IpAddr,
    /// Who asks; nobody if that is not known.
    pub who: Option<Who<'a>>,
    /// The tier of who has none, encoded as in headers.
    pub default_tier: &'a str,
}

/// Who asks, as far as buckets are told apart by it. Texts are in the encoding of headers.
#[derive(Debug, Clone, Copy)]
pub struct Who<'a> {
    /// The configured name of the issuer.
    pub issuer: &'a str,
    /// The subject.
    pub subject: &'a str,
    /// The tenant, if there is one.
    pub tenant: Option<&'a str>,
    /// The tier, if there is one.
    pub tier: Option<&'a str>,
    /// The claims.
    pub claims: &'a Map<String, Value>,
}

impl<'a> From<&'a Principal> for Who<'a> {
    fn from(principal: &'a Principal) -> Self {
        Self {
            issuer: principal.issuer(),
            subject: principal.wire_subject(),
            tenant: principal.wire_tenant(),
            tier: principal.wire_tier(),
            claims: principal.claims(),
        }
    }
}

impl Whose<'_> {
    /// The tier: of who names none, and of a stranger, the default one.
    #[must_use]
    pub fn tier(&self) -> &str {
        self.who.and_then(|who| who.tier).unwrap_or(self.default_tier)
    }
}

impl Applied {
    /// Appends the name of the bucket from which `whose` request takes.
    ///
    /// There always is one: who has no such claim or tenant has a bucket as the user that he is, and a stranger one by his address.
    pub fn write_key(&self, whose: &Whose<'_>, key: &mut String) {
        key.push_str(&self.limit.name);
        if self.is_own {
            key.push('@');
            key.push_str(whose.rule);
        }
        for by in &self.limit.by {
            match by {
                By::Client => client(whose.client, key),
                By::Rule => words(key, ",rule:", whose.rule),
                // A stranger has none, and shares none with those who have: he could use up what is theirs.
                By::Tier => words(key, ",tier:", whose.who.map_or("", |_| whose.tier())),
                By::User => user(whose, key),
                By::Tenant => match whose.who.and_then(|who| Some((who, who.tenant?))) {
                    Some((who, tenant)) => of_issuer(key, ",tenant:", who, tenant),
                    None => user(whose, key),
                },
                By::Claim(path) => match whose.who.and_then(|who| Some((who, claim(path, who.claims)?))) {
                    Some((who, value)) => of_issuer(key, ",claim:", who, &value),
                    None => user(whose, key),
                },
            }
        }
    }
}

fn user(whose: &Whose<'_>, key: &mut String) {
    match whose.who {
        Some(who) => of_issuer(key, ",user:", who, who.subject),
        None => client(whose.client, key),
    }
}

/// Whoever has one IPv6 address usually has the other 2^64 of its /64 as well.
fn client(address: IpAddr, key: &mut String) {
    // Writing to a String cannot fail.
    match address {
        IpAddr::V4(address) => {
            key.push_str(",client:");
            for (i, octet) in address.octets().into_iter().enumerate() {
                if i > 0 {
                    key.push('.');
                }
                key.push_str(itoa::Buffer::new().format(octet));
            }
        }
        IpAddr::V6(address) => {
            let network = Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX));
            write!(key, ",client:{network}/64").ok();
        }
    }
}

fn words(key: &mut String, word: &str, value: &str) {
    key.push_str(word);
    key.push_str(value);
}

/// Subjects, tenants and claims are an issuer's own: those of another one are others, whatever they are called.
fn of_issuer(key: &mut String, word: &str, who: Who<'_>, value: &str) {
    words(key, word, who.issuer);
    words(key, ",", value);
}

/// A claim in the encoding of headers; none if it is not there, or empty.
fn claim(path: &ClaimPath, claims: &Map<String, Value>) -> Option<String> {
    match path.find(claims)? {
        Value::Null => None,
        Value::String(text) if text.is_empty() => None,
        Value::String(text) => Some(wire_safe(text).into_owned()),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Some(wire_safe(&other.to_string()).into_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::policy::limit::{Counts, Limit, Rate, Rates};

    fn key(by: &[By], is_own: bool, client: &str, principal: Option<&Principal>) -> String {
        let limit = Arc::new(Limit { name: "l".into(), index: 0, by: by.to_vec(), counts: Counts::Requests });
        let otherwise = Rate::new(1, Duration::from_secs(1), 1).expect("a rate");
        let applied = Applied { limit, rates: Rates { otherwise, tiers: Vec::new() }, is_own };
        let mut key = String::new();
        let client = client.parse().expect("an address");
        applied.write_key(&Whose { rule: "r", client, who: principal.map(Into::into), default_tier: "free" }, &mut key);
        key
    }

    fn somebody(issuer: &str, subject: &str, tenant: Option<&str>) -> Principal {
        let claims = json!({"org": {"id": 7}, "list": ["a,b"], "none": null, "empty": ""});
        let claims = claims.as_object().expect("an object").clone();
        Principal::new(issuer, subject, [], [], [], Some("pro"), claims).of_tenant(tenant)
    }

    #[test]
    fn names() {
        let alice = somebody("kc", "alice,é", Some("acme"));
        let (v4, v6) = ("192.0.2.7", "2001:db8:1:2:3:4:5:6");
        let claim = |text: &str| By::Claim(ClaimPath::new(text));
        for (by, client, who, name) in [
            (vec![By::User], v4, Some(&alice), "l,user:kc,alice%2C%C3%A9"),
            (vec![By::User], v4, None, "l,client:192.0.2.7"),
            (vec![By::Client], v6, Some(&alice), "l,client:2001:db8:1:2::/64"),
            (vec![By::Tenant, By::Rule], v4, Some(&alice), "l,tenant:kc,acme,rule:r"),
            (vec![By::Tier], v4, Some(&alice), "l,tier:pro"),
            (vec![By::Tier], v4, None, "l,tier:"),
            (vec![claim("org.id")], v4, Some(&alice), "l,claim:kc,7"),
            (vec![claim("list")], v4, Some(&alice), "l,claim:kc,[\"a%2Cb\"]"),
            (vec![claim("none")], v4, Some(&alice), "l,user:kc,alice%2C%C3%A9"),
            (vec![claim("empty")], v4, Some(&alice), "l,user:kc,alice%2C%C3%A9"),
            (vec![claim("other")], v4, None, "l,client:192.0.2.7"),
        ] {
            assert_eq!(key(&by, false, client, who), name);
        }
        assert_eq!(key(&[By::Client], true, v4, None), "l@r,client:192.0.2.7");
        let bob = somebody("kc", "bob", None);
        assert_eq!(key(&[By::Tenant], false, v4, Some(&bob)), "l,user:kc,bob");
    }

    proptest! {
        /// T-F5: no two askers share a bucket by shifting text from one field into another.
        #[test]
        fn t_f5_other_askers_have_other_names(
            a in ("[a-z,:%@]{0,4}", "[a-z,:%@/.é]{0,6}"), b in ("[a-z,:%@]{0,4}", "[a-z,:%@/.é]{0,6}"),
        ) {
            // The names of issuers are of letters, digits and marks, as the settings demand.
            let plain = |issuer: &str| issuer.replace([',', ':', '%', '@'], "");
            let one = somebody(&plain(&a.0), &a.1, Some(&a.1).filter(|tenant| !tenant.is_empty()).map(String::as_str));
            let other = somebody(&plain(&b.0), &b.1, Some(&b.1).filter(|tenant| !tenant.is_empty()).map(String::as_str));
            for by in [vec![By::User], vec![By::Tenant], vec![By::User, By::Tenant]] {
                let same = plain(&a.0) == plain(&b.0) && a.1 == b.1;
                let names = [key(&by, false, "192.0.2.1", Some(&one)), key(&by, false, "192.0.2.1", Some(&other))];
                prop_assert_eq!(same, names[0] == names[1], "{:?}", names);
            }
        }
    }
}
