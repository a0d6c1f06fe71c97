//! The request headers that are read at all, gathered in one pass; and the client's address.

use std::net::{IpAddr, SocketAddr};

use super::TrustedPeer;
use crate::credential::Lines;
use crate::policy::cors::Preflight;
use crate::policy::{Method, Reason};

macro_rules! fields {
    ($($variant:ident = $name:literal),* $(,)?) => {
        /// A request header that some dialect reads. Only the exact name counts: `X_Forwarded_Uri`
        /// and `X.Forwarded.Uri` are other headers, and nobody's.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[expect(missing_docs, reason = "the names are those of the headers")]
        pub enum Field { $($variant),* }

        impl Field {
            /// The field with this name, which must be in lower case.
            #[must_use]
            pub fn named(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }

        /// The lines of each field.
        #[derive(Debug, Default)]
        pub struct Fields<'a>([Lines<'a>; [$(Field::$variant),*].len()]);

        impl<'a> Fields<'a> {
            /// The lines of one field.
            #[must_use]
            pub fn lines(&self, field: Field) -> &Lines<'a> {
                let [$($variant),*] = &self.0;
                match field { $(Field::$variant => $variant),* }
            }

            /// Adds a line to a field.
            pub fn push(&mut self, field: Field, line: &'a [u8]) {
                let [$($variant),*] = &mut self.0;
                match field { $(Field::$variant => $variant.push(line)),* }
            }
        }
    };
}

mod fields {
    #![expect(non_snake_case, reason = "the macro binds each slot to its variant's name")]
    use super::Lines;
    fields! {
        Accept = "accept",
        AccessControlRequestHeaders = "access-control-request-headers",
        AccessControlRequestMethod = "access-control-request-method",
        Authorization = "authorization",
        Cookie = "cookie",
        ForwardedFor = "x-forwarded-for",
        ForwardedHost = "x-forwarded-host",
        ForwardedMethod = "x-forwarded-method",
        ForwardedProto = "x-forwarded-proto",
        ForwardedUri = "x-forwarded-uri",
        Host = "host",
        Origin = "origin",
        OriginalUrl = "x-original-url",
        RequestId = "x-request-id",
        SecFetchMode = "sec-fetch-mode",
    }
}

pub use fields::{Field, Fields};

impl<'a> Fields<'a> {
    /// The only line of a field, if there is one.
    ///
    /// # Errors
    /// [`Reason::DoubledForwarded`] if there are several.
    pub fn only(&self, field: Field) -> Result<Option<&'a [u8]>, Reason> {
        self.lines(field).only(Reason::DoubledForwarded)
    }

    /// The only line of a field that must be there.
    ///
    /// # Errors
    /// [`Reason::MissingForwarded`] if there is none; nothing else stands in for it.
    pub fn need(&self, field: Field) -> Result<&'a [u8], Reason> {
        self.only(field)?.ok_or(Reason::MissingForwarded)
    }

    /// The client's address out of `X-Forwarded-For`: the rightmost that is not one of our own
    /// proxies, or the leftmost if all are. What stands left of it is the client's own text and is
    /// not read. A port behind an address is taken off.
    ///
    /// # Errors
    /// [`Reason::MissingForwarded`], [`Reason::DoubledForwarded`]; [`Reason::MalformedClient`] for
    /// an entry that is no address.
    pub fn client(&self, peer: &TrustedPeer<'_>) -> Result<IpAddr, Reason> {
        let line = str::from_utf8(self.need(Field::ForwardedFor)?).map_err(|_| Reason::MalformedClient)?;
        let mut client = None;
        for entry in line.rsplit(',') {
            let address = address(entry.trim_ascii()).ok_or(Reason::MalformedClient)?;
            client = Some(address);
            if !peer.trusts(address) {
                break;
            }
        }
        client.ok_or(Reason::MalformedClient)
    }

    /// The preflight that a request is: `OPTIONS` with exactly one origin and one announced method (T-E7).
    #[must_use]
    pub fn preflight(&self, method: &Method<'_>) -> Option<Preflight<'a>> {
        let only = |field| self.only(field).ok().flatten();
        if method.as_str() != "OPTIONS" {
            return None;
        }
        let origin = str::from_utf8(only(Field::Origin)?).ok()?;
        let method = Method::parse(only(Field::AccessControlRequestMethod)?).ok()?;
        // Several lines of names would be one list; no browser sends them, and what is not read is not granted.
        let headers = self.only(Field::AccessControlRequestHeaders).ok()?.unwrap_or_default();
        Some(Preflight { origin, method, headers: str::from_utf8(headers).ok()? })
    }

    /// Refuses a request that also names its URI by `X-Original-URL`, and another one: some
    /// upstreams would serve that one.
    ///
    /// # Errors
    /// [`Reason::ConflictingUri`].
    pub fn same_original_url(&self, uri: &[u8]) -> Result<(), Reason> {
        if self.lines(Field::OriginalUrl).iter().all(|other| other == uri) {
            Ok(())
        } else {
            Err(Reason::ConflictingUri)
        }
    }
}

fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().or_else(|_| text.parse::<SocketAddr>().map(|socket| socket.ip())).ok()?;
    Some(address.to_canonical())
}
