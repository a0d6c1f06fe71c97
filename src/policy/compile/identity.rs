//! The identity headers' names, compiled.

use super::{Mistakes, claim_path};
use crate::policy::IdentityHeaders;
use crate::policy::document::{ExtraHeaderFile, IdentityHeadersFile, UnsafeValues};
use crate::policy::identity::{Template, is_plain};

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
    let extra = file.extra.iter().enumerate().filter_map(|(i, extra)| {
        let at = format!("identity_headers.extra[{i}]");
        let name = name(format!("{at}.header"), &extra.header, mistakes);
        Some((name, template(extra, &at, mistakes)?))
    });
    let extra = extra.collect();
    if file.default_tier.trim().is_empty() {
        mistakes.add(
            "identity_headers.default_tier",
            "the default tier is empty",
            "write the tier with the least rights, such as free",
        );
    }
    if file.max_bytes == 0 || file.max_bytes > MOST_VALUE_BYTES {
        mistakes.add(
            "identity_headers.max_bytes",
            format!("{} bytes are no length of a header", file.max_bytes),
            format!("write 1 to {MOST_VALUE_BYTES}"),
        );
    }
    let mut headers = IdentityHeaders::new(&user, &roles, &tier, &file.default_tier, extra);
    headers.max_value_bytes = file.max_bytes;
    headers.refuses_encoded = file.unsafe_values == UnsafeValues::Refuse;
    headers
}

/// What no proxy passes on: Envoy takes 60 KiB of headers, Go's server 1 MiB.
const MOST_VALUE_BYTES: usize = 64 * 1024;

fn template(file: &ExtraHeaderFile, at: &str, mistakes: &mut Mistakes) -> Option<Template> {
    match (&file.claim, &file.template) {
        (Some(claim), None) => {
            claim_path(format!("{at}.claim"), claim, mistakes);
            if let Some(default) = file.default.as_ref().filter(|default| default.is_empty() || !is_plain(default)) {
                mistakes.add(
                    format!("{at}.default"),
                    format!("`{default}` cannot stand in a header as it is"),
                    "write visible ASCII without blanks, braces and percent signs",
                );
            }
            Some(Template::claim(claim.clone(), file.default.as_deref()))
        }
        (None, Some(text)) if file.default.is_none() => Template::parse(text)
            .map_err(|why| {
                let remedy = "write texts and claims in braces, such as {tenant}/{sub} or {email|unknown}";
                mistakes.add(format!("{at}.template"), format!("`{text}` is no template: {why}"), remedy);
            })
            .ok(),
        _ => {
            mistakes.add(
                at,
                format!("the header `{}` needs exactly one of `claim` and `template`", file.header),
                "write claim: PATH (and default: TEXT), or template: TEXT with {claim|default}",
            );
            None
        }
    }
}
