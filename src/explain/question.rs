//! What a person asks, put as Traefik would put it, so that one reader of requests reads it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use serde::Deserialize;

use crate::gate::Ask;
use crate::policy::{Reason, Step};
use crate::protocol::traefik::Traefik;
use crate::protocol::{self, Check, Field, Fields, TrustedProxies};

/// A question as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// What is asked for: `https://shop.example.com/orders/7`. Its path and host are read as those of a request are.
    pub url: String,
    /// The method. Default `GET`.
    #[serde(default = "default_method")]
    pub method: String,
    /// The client's address. Default `192.0.2.1`, which is nobody's (RFC 5737).
    #[serde(default = "default_client")]
    pub client: IpAddr,
    /// The rule set that the proxy names. Default: none.
    #[serde(default)]
    pub set: Option<String>,
    /// A bearer token. Default: none.
    #[serde(default)]
    pub token: Option<String>,
    /// Header lines that decisions look at, by name.
    #[serde(default)]
    pub headers: BTreeMap<String, Vec<String>>,
}

/// The method of a question that names none.
#[must_use]
pub fn default_method() -> String {
    "GET".to_owned()
}

/// The client of a question that names none.
#[must_use]
pub fn default_client() -> IpAddr {
    Ipv4Addr::new(192, 0, 2, 1).into()
}

/// A question, ready to be put. It may hold credentials, and is not shown.
pub struct Question {
    method: String,
    host: String,
    target: String,
    client: String,
    set: Option<String>,
    headers: Vec<(Field, String)>,
    proxy: TrustedProxies,
}

impl fmt::Debug for Asked {
    /// Only the method: the rest may hold credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked").field("method", &self.method).finish_non_exhaustive()
    }
}

impl fmt::Debug for Question {
    /// As of [`Asked`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question").field("method", &self.method).finish_non_exhaustive()
    }
}

/// What a question says otherwise, and what is no part of it.
const TAKEN: [Field; 7] = [
    Field::ForwardedFor,
    Field::ForwardedHost,
    Field::ForwardedMethod,
    Field::ForwardedProto,
    Field::ForwardedUri,
    Field::Host,
    Field::RequestId,
];

/// Where a question comes from.
const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

impl Question {
    /// The question that is written.
    ///
    /// # Errors
    /// What cannot be asked, in words; no value of a header is among them.
    pub fn new(asked: &Asked) -> Result<Self, String> {
        let rest = asked.url.strip_prefix("https://").or_else(|| asked.url.strip_prefix("http://"));
        let rest = rest.ok_or("the URL is none: write https://HOST/PATH")?;
        // Not by a library: it would repair what is to be judged.
        let (host, target) = match rest.find(['/', '?', '#', '\\']) {
            Some(at) => rest.split_at_checked(at).unwrap_or((rest, "")),
            None => (rest, "/"),
        };
        let target = if target.starts_with('?') { format!("/{target}") } else { target.to_owned() };
        let mut headers = Vec::new();
        for (name, lines) in &asked.headers {
            let field = Field::named(&name.to_ascii_lowercase()).filter(|field| !TAKEN.contains(field));
            let field = field.ok_or_else(|| format!("no decision looks at a header `{name}` of the client"))?;
            headers.extend(lines.iter().map(|line| (field, line.clone())));
        }
        headers.extend(asked.token.as_ref().map(|token| (Field::Authorization, format!("Bearer {}", token.trim()))));
        let proxy = TrustedProxies::new(vec![PROXY.into()]).map_err(|network| format!("{network} is not trusted"))?;
        Ok(Self {
            method: asked.method.clone(),
            host: host.to_owned(),
            target,
            client: asked.client.to_string(),
            set: asked.set.clone(),
            headers,
            proxy,
        })
    }

    /// The header lines of the check request.
    #[must_use]
    pub fn fields(&self) -> Fields<'_> {
        let mut fields = Fields::default();
        let facts = [
            (Field::ForwardedMethod, &self.method),
            (Field::ForwardedHost, &self.host),
            (Field::ForwardedUri, &self.target),
            (Field::ForwardedFor, &self.client),
        ];
        let own = self.headers.iter().map(|(field, line)| (*field, line));
        for (field, line) in facts.into_iter().chain(own) {
            fields.push(field, line.as_bytes());
        }
        fields
    }

    /// What is to be decided.
    ///
    /// # Errors
    /// The reason, if the request cannot be understood.
    pub fn ask<'q>(&'q self, fields: &'q Fields<'q>) -> Result<Ask<'q>, Reason> {
        let peer = self.proxy.admit(Some(PROXY))?;
        let check = Check {
            peer,
            rule_set: self.set.as_deref(),
            method: "GET",
            target: "/validate",
            client_target: "",
            fields,
        };
        protocol::ask(&Traefik, Step::Validate, &check)
    }
}
