//! From a decision to an answer: the one status table, the one place that writes identity headers.

use std::borrow::Cow;

use super::{Absent, Asker, Dialect, Statuses, rate};
use crate::policy::demand::Freshness;
use crate::policy::{Class, Decision, Grant, Policy, Reason, Refusal};

/// An answer, whatever the transport.
#[derive(Debug)]
pub struct Reply<'a> {
    /// The HTTP status; 200 only out of a [`Grant`].
    pub status: u16,
    /// The headers, names in lower case, each name once; a refusal has [`REFUSED`] too.
    pub headers: Vec<(&'a str, Cow<'a, str>)>,
    /// The body; empty for an allow.
    pub body: String,
}

/// The headers of every refusal (RFC 9457), beside its own.
pub const REFUSED: [(&str, &str); 2] = [("content-type", "application/problem+json"), ("cache-control", "no-store")];

/// The names of all headers that an answer can have beside these and the identity headers.
pub fn headers() -> impl Iterator<Item = &'static str> {
    let own = [
        "www-authenticate",
        REQUEST_ID,
        ENVOY_REMOVE,
        STATUS,
        REASON,
        "location",
        "content-type",
        "content-security-policy",
    ];
    own.into_iter().chain(rate::HEADERS)
}

const STATUS: &str = "x-portcullis-status";
const REASON: &str = "x-portcullis-reason";

/// The header that carries the request's id.
pub const REQUEST_ID: &str = "x-request-id";

/// The header by which Envoy is told what to remove from the upstream's request.
const ENVOY_REMOVE: &str = "x-envoy-auth-headers-to-remove";

impl<'a> Reply<'a> {
    /// The answer to a decision. A request that no dialect claims is answered in the plainest.
    #[must_use]
    pub fn new(decision: &'a Decision, policy: &'a Policy, dialect: Option<&dyn Dialect>, asker: &Asker<'a>) -> Self {
        let mut reply = match decision {
            Ok(grant) => Self::allow(grant, policy, dialect.map_or(Absent::Empty, Dialect::absent)),
            Err(refusal) => {
                let reply = Self::refuse(refusal, policy, asker);
                match dialect.map_or(Statuses::All, Dialect::statuses) {
                    Statuses::All => reply,
                    Statuses::UnauthorizedAndForbidden => reply.folded(refusal.reason),
                }
            }
        };
        reply.headers.push((REQUEST_ID, Cow::Borrowed(asker.request_id)));
        reply
    }

    /// Every identity header is either set or named for removal: a proxy that hears nothing of one
    /// passes the client's own copy.
    fn allow(grant: &'a Grant, policy: &'a Policy, absent: Absent) -> Self {
        let mut headers = Vec::with_capacity(8);
        let mut remove = match absent {
            Absent::Empty => String::new(),
            Absent::Removed => policy.identity.aliases().to_owned(),
        };
        for (name, value) in policy.identity.values(grant) {
            match (value, absent) {
                // Envoy drops headers without a value; an empty list of roles is removed too.
                (Some(value), Absent::Empty) => headers.push((name, Cow::Borrowed(value))),
                (Some(value), Absent::Removed) if !value.is_empty() => headers.push((name, Cow::Borrowed(value))),
                (None, Absent::Empty) => headers.push((name, Cow::Borrowed(""))),
                (_, Absent::Removed) => {
                    if !remove.is_empty() {
                        remove.push(',');
                    }
                    remove.push_str(name);
                }
            }
        }
        if !remove.is_empty() {
            headers.push((ENVOY_REMOVE, Cow::Owned(remove)));
        }
        headers.extend(rate::headers(grant.metered(), policy.limit_headers));
        Self { status: 200, headers, body: String::new() }
    }

    /// For a proxy that passes on 401 and 403 only. The headers are for that proxy; it shows its clients none of them.
    fn folded(mut self, reason: Reason) -> Self {
        self.headers.push((STATUS, Cow::Owned(self.status.to_string())));
        if reason.class() == Class::Unauthenticated {
            // Of a sign-in too: nginx takes the address out of `Location` where its `error_page` says so.
            self.status = 401;
        }
        self.headers.push((REASON, Cow::Borrowed(reason.code())));
        if self.status != 401 {
            self.status = 403;
        }
        self
    }

    fn refuse(refusal: &Refusal, policy: &Policy, asker: &Asker<'_>) -> Self {
        let class = refusal.reason.class();
        let status = class.status(policy.forbidden_status);
        let mut headers = Vec::with_capacity(8);
        if let Some(challenge) = challenge(refusal, policy, status) {
            headers.push(("www-authenticate", Cow::Owned(challenge)));
        }
        if let Some(metered) = refusal.metered.as_deref() {
            headers.push(rate::retry_after(metered));
            headers.extend(rate::headers(std::slice::from_ref(metered), policy.limit_headers));
        }
        let (title, usual) = class_text(class, status);
        // A rule's message says for whom it is; who is limited is one of those.
        let own = refusal.rule.as_ref().filter(|_| class != Class::Limited).and_then(|rule| rule.message.as_deref());
        let problem = Problem { title, status, detail: own.unwrap_or(usual), request_id: asker.request_id };
        if !(policy.refusals.pages || policy.refusals.sign_in.is_some()) || !asker.navigates() {
            return Self { status, headers, body: problem.json() };
        }
        if let Some(to) = sign_in(refusal, policy, asker) {
            headers.push(("location", Cow::Owned(to)));
            return Self { status: 302, headers, body: String::new() };
        }
        if !policy.refusals.pages {
            return Self { status, headers, body: problem.json() };
        }
        headers.push(("content-type", Cow::Borrowed("text/html; charset=utf-8")));
        // Of ours nothing runs and nothing is loaded; should a message ever hold markup, it does neither.
        headers.push(("content-security-policy", Cow::Borrowed(PAGE_POLICY)));
        Self { status, headers, body: problem.page() }
    }
}

const PAGE_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// Where a person is sent who lacks a valid credential.
fn sign_in(refusal: &Refusal, policy: &Policy, asker: &Asker<'_>) -> Option<String> {
    let sign_in = policy.refusals.sign_in.as_ref()?;
    let lacks = refusal.reason.class() == Class::Unauthenticated;
    lacks.then(|| asker.url()).flatten().and_then(|url| sign_in.for_url(&url))
}

/// What is told of a refusal.
struct Problem<'a> {
    title: &'a str,
    status: u16,
    detail: &'a str,
    request_id: &'a str,
}

impl Problem<'_> {
    /// RFC 9457. Only an operator's message needs escaping: the request id is of letters, digits and harmless marks.
    fn json(&self) -> String {
        let mut status = itoa::Buffer::new();
        let detail: Cow<'_, str> = if self.detail.bytes().all(|b| b != b'"' && b != b'\\' && b >= b' ') {
            Cow::Borrowed(self.detail)
        } else {
            let quoted = serde_json::Value::from(self.detail).to_string();
            Cow::Owned(quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_owned())
        };
        [
            "{\"title\":\"",
            self.title,
            "\",\"status\":",
            status.format(self.status),
            ",\"detail\":\"",
            &*detail,
            "\",\"request_id\":\"",
            self.request_id,
            "\"}\n",
        ]
        .concat()
    }

    fn page(&self) -> String {
        let escape = |text: &str| {
            let marks = [('&', "&amp;"), ('<', "&lt;"), ('>', "&gt;"), ('"', "&quot;"), ('\'', "&#39;")];
            marks.iter().fold(text.to_owned(), |text, (mark, entity)| text.replace(*mark, entity))
        };
        let page =
            include_str!("refused.html").replace("{title}", self.title).replace("{status}", &self.status.to_string());
        // The message comes last, so that nothing in it is replaced.
        page.replace("{request_id}", &escape(self.request_id)).replace("{detail}", &escape(self.detail))
    }
}

/// The challenge of RFC 6750 section 3: no error code where no credential was sent.
fn challenge(refusal: &Refusal, policy: &Policy, status: u16) -> Option<String> {
    let realm = &policy.realm;
    if refusal.reason == Reason::NoCredential {
        return Some(["Bearer realm=\"", realm, "\""].concat());
    }
    if let Some(fresh) = refusal.rule.as_ref().filter(|_| refusal.reason == STEP_UP).and_then(|rule| rule.freshness()) {
        return Some(step_up(realm, fresh));
    }
    let error = match refusal.reason.class() {
        Class::Unauthenticated => "invalid_token",
        Class::AmbiguousCredential => "invalid_request",
        // A 401 must carry a challenge (RFC 9110 section 15.5.2); a 403 needs one only where it helps.
        Class::Forbidden if status == 401 || refusal.reason == Reason::MissingScope => "insufficient_scope",
        Class::Forbidden | Class::Malformed | Class::Barred | Class::Limited | Class::NoEndpoint | Class::Unable => {
            return None;
        }
    };
    let mut challenge = ["Bearer realm=\"", realm, "\", error=\"", error, "\""].concat();
    if refusal.reason == Reason::Expired {
        // The one detail that lets an honest client help itself, as the RFC's own example shows.
        challenge.push_str(", error_description=\"the token has expired\"");
    }
    if let Some(rule) = refusal.rule.as_ref().filter(|_| refusal.reason == Reason::MissingScope) {
        let scopes: Vec<&str> = rule.scopes().filter(|scope| is_scope_token(scope)).collect();
        challenge.push_str(&format!(", scope=\"{}\"", scopes.join(" ")));
    }
    Some(challenge)
}

const STEP_UP: Reason = Reason::InsufficientUserAuthentication;

/// The challenge of RFC 9470 section 3: what the next sign-in must be like.
fn step_up(realm: &str, fresh: &Freshness) -> String {
    let mut challenge = format!("Bearer realm=\"{realm}\", error=\"{}\"", STEP_UP.code());
    if !fresh.acr.is_empty() {
        challenge.push_str(&format!(", acr_values=\"{}\"", fresh.acr.join(" ")));
    }
    if let Some(age) = fresh.max_age {
        challenge.push_str(&format!(", max_age=\"{}\"", age.as_secs()));
    }
    challenge
}

/// RFC 6749 section 3.3.
fn is_scope_token(scope: &str) -> bool {
    scope.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\')
}

/// What the client is told: the class, never the reason or the rule.
fn class_text(class: Class, status: u16) -> (&'static str, &'static str) {
    match class {
        Class::Malformed => ("Bad Request", "the request cannot be judged"),
        Class::AmbiguousCredential => ("Bad Request", "the request carries more than one credential"),
        Class::Unauthenticated => ("Unauthorized", "a valid credential is needed"),
        Class::Forbidden if status == 401 => ("Unauthorized", "the credential does not allow this"),
        Class::Forbidden | Class::Barred => ("Forbidden", "this is not allowed"),
        Class::Limited => ("Too Many Requests", "a limit is reached"),
        Class::NoEndpoint => ("Not Found", "there is no such endpoint"),
        Class::Unable => ("Service Unavailable", "no decision could be made"),
    }
}
