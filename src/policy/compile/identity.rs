//! The identity headers' names, compiled.

use super::{Mistakes, claim_path};
use crate::policy::IdentityHeaders;
use crate::policy::document::IdentityHeadersFile;

/// Headers that a proxy or HTTP itself gives a meaning: none may carry an identity.
const RESERVED_HEADERS: [&str; 32] = [
    "cache-control",
    "content-encoding",
    "content-language",
    "expect",
    "forwarded",
    "keep-alive",
    "proxy",
    "proxy-authenticate",
    "proxy-authorization",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-real-ip",
    "x-rewrite-url",
    "accept",
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "host",
    "location",
    "server",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "www-authenticate",
    "x-request-id",
];

pub(super) fn identity(file: &IdentityHeadersFile, mistakes: &mut Mistakes) -> IdentityHeaders {
    let mut seen: Vec<String> = Vec::new();
    let mut name = |at: String, name: &str, mistakes: &mut Mistakes| -> Box<str> {
        let lower = name.to_ascii_lowercase();
        let token = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let reserved = RESERVED_HEADERS.contains(&lower.as_str())
            || lower.starts_with("x-portcullis-")
            || lower.starts_with("x-forwarded-")
            || lower.starts_with("x-envoy-");
        if !token {
            mistakes.add(
                &at,
                format!("`{name}` is no header name for an identity"),
                "write letters, digits and `-`; `_` and `.` are aliases of `-` to many upstreams",
            );
        } else if reserved {
            mistakes.add(
                &at,
                format!("`{name}` has a meaning of its own in HTTP or to the proxy"),
                "choose another name, such as X-User-ID",
            );
        } else if seen.contains(&lower) {
            mistakes.add(
                &at,
                format!("`{name}` stands for two identity headers"),
                "give each header a name of its own",
            );
        }
        seen.push(lower.clone());
        lower.into()
    };
    let user = name("identity_headers.user".into(), &file.user, mistakes);
    let roles = name("identity_headers.roles".into(), &file.roles, mistakes);
    let tier = name("identity_headers.tier".into(), &file.tier, mistakes);
    let extra = file.extra.iter().enumerate().map(|(i, extra)| {
        claim_path(format!("identity_headers.extra[{i}].claim"), &extra.claim, mistakes);
        (name(format!("identity_headers.extra[{i}].header"), &extra.header, mistakes), extra.claim.clone())
    });
    let extra = extra.collect();
    if file.default_tier.trim().is_empty() {
        mistakes.add(
            "identity_headers.default_tier",
            "the default tier is empty",
            "write the tier with the least rights, such as free",
        );
    }
    IdentityHeaders::new(&user, &roles, &tier, &file.default_tier, extra)
}
