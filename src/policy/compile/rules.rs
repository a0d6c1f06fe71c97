//! One rule, compiled.

use std::sync::Arc;

use super::limits::Limits;
use super::{Mistakes, demands};
use crate::credential::CredentialKind;
use crate::policy::cors::{Cors, is_origin};
use crate::policy::demand::Patterns;
use crate::policy::document::{AllowFile, CorsFile, RuleFile, Who};
use crate::policy::path::is_invisible;
use crate::policy::pattern::Pattern;
use crate::policy::route::{HostPattern, Methods, RouteTable};
use crate::policy::{Host, Method, Rule};

/// Compiles a rule and puts it where requests find it.
pub(super) fn add_rule(
    file: &RuleFile,
    at: &str,
    regexes: &Patterns,
    limits: &mut Limits<'_>,
    routes: &mut RouteTable,
    mistakes: &mut Mistakes,
) -> Arc<Rule> {
    if !is_name(&file.id) {
        mistakes.add(
            format!("{at}.id"),
            format!("`{}` is no rule id", file.id),
            "write lower-case letters, digits, `-`, `_` and `.`",
        );
    }
    let rule = Arc::new(Rule {
        id: file.id.as_str().into(),
        access: demands::access(&file.allow, &format!("{at}.allow"), mistakes),
        credentials: credentials(file, at, mistakes),
        message: message(file, at, mistakes),
        cors: file.cors.as_ref().map(|cors| self::cors(cors, &format!("{at}.cors"), mistakes)),
        limits: limits.of(file, at, mistakes),
    });
    let methods = methods(file, at, mistakes);
    let hosts = each(&file.hosts, &format!("{at}.hosts"), "host", mistakes, host_pattern);
    let paths = each(&file.paths, &format!("{at}.paths"), "path", mistakes, |text| Pattern::parse(text, regexes));
    let everything = |(_, pattern): &(usize, Pattern)| pattern.rest && pattern.segments.is_empty();
    if rule.access.who == Who::Anonymous && rule.access.demands.is_empty() && paths.iter().any(everything) {
        mistakes.warn(format!("{at}.allow: rule `{}` lets everybody in everywhere that no other rule names", file.id));
    }
    for (_, host) in &hosts {
        for (i, pattern) in &paths {
            let added = routes.add(host, pattern, &methods, &rule);
            for (method, earlier) in added.taken {
                mistakes.warn(format!(
                    "{at}.paths[{i}]: {method} never reaches rule `{}` here: rule `{}` has it at the same host and path",
                    file.id, earlier.id
                ));
            }
            if let Some(earlier) = added.hidden_by {
                mistakes.add(
                    format!("{at}.paths[{i}]"),
                    format!(
                        "rule `{}` can never match here: rule `{}` has the same host, path and methods",
                        file.id, earlier.id
                    ),
                    "remove one of them, or make its methods differ",
                );
            }
        }
    }
    rule
}

/// Longest message of a rule, in bytes: a sentence or two, not a page.
const MAX_MESSAGE_BYTES: usize = 500;

fn message(file: &RuleFile, at: &str, mistakes: &mut Mistakes) -> Option<Box<str>> {
    let message = file.message.as_deref()?;
    if message.trim().is_empty() || message.len() > MAX_MESSAGE_BYTES || message.chars().any(is_invisible) {
        mistakes.add(
            format!("{at}.message"),
            "the message is empty, too long, or holds what shows nothing",
            format!("write one line of at most {MAX_MESSAGE_BYTES} bytes"),
        );
    }
    Some(message.into())
}

fn cors(file: &CorsFile, at: &str, mistakes: &mut Mistakes) -> Cors {
    let any = matches!(&file.origins[..], [only] if only == "*");
    for (i, origin) in file.origins.iter().enumerate() {
        if !any && !is_origin(origin) {
            mistakes.add(
                format!("{at}.origins[{i}]"),
                format!("`{origin}` is no origin as browsers send it"),
                "write https://app.example.com: lower case, no path, the port only if it is not the usual one; or `*` alone",
            );
        }
    }
    if file.origins.is_empty() {
        mistakes.add(format!("{at}.origins"), "no origin may ask", "write at least one origin, or remove `cors`");
    }
    for (i, header) in file.headers.iter().enumerate() {
        if header.is_empty() || !header.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)) {
            mistakes.add(
                format!("{at}.headers[{i}]"),
                format!("`{header}` is no header name"),
                "write a name such as Authorization",
            );
        }
    }
    let origins = if any { Vec::new() } else { file.origins.iter().map(|origin| origin.as_str().into()).collect() };
    Cors { origins, headers: file.headers.iter().map(|header| header.to_ascii_lowercase().into()).collect() }
}

/// Whether it can be named in an address, unescaped.
pub(super) fn set_name(set: &str, at: &str, mistakes: &mut Mistakes) {
    if !is_name(set) {
        mistakes.add(
            format!("{at}.set"),
            format!("`{set}` is no name of a rule set"),
            "write lower-case letters, digits, `-`, `_` and `.`",
        );
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b))
}

/// Reads each text of a list that must not be empty.
fn each<T>(
    texts: &[String],
    at: &str,
    noun: &str,
    mistakes: &mut Mistakes,
    read: impl Fn(&str) -> Result<T, (String, String)>,
) -> Vec<(usize, T)> {
    if texts.is_empty() {
        mistakes.add(at, format!("the rule names no {noun}"), format!("write at least one {noun}"));
    }
    let mut values = Vec::with_capacity(texts.len());
    for (i, text) in texts.iter().enumerate() {
        match read(text) {
            Ok(value) => values.push((i, value)),
            Err((what, remedy)) => mistakes.add(format!("{at}[{i}]"), what, remedy),
        }
    }
    values
}

fn host_pattern(text: &str) -> Result<HostPattern, (String, String)> {
    if text == "*" {
        return Ok(HostPattern::Any);
    }
    let (below, name) = text.strip_prefix("*.").map_or((false, text), |suffix| (true, suffix));
    let wrong = || {
        (
            format!("`{text}` is no host"),
            "write a name such as shop.example.com (without port; punycode for non-ASCII), `*.example.com`, or `*`"
                .to_owned(),
        )
    };
    let host = Host::parse(name.as_bytes()).map_err(|_| wrong())?;
    let has_port = !name.starts_with('[') && name.contains(':') || name.contains("]:");
    if has_port {
        return Err(wrong());
    }
    let name = host.as_str().into();
    Ok(if below { HostPattern::Below(name) } else { HostPattern::Exact(name) })
}

fn methods(file: &RuleFile, at: &str, mistakes: &mut Mistakes) -> Methods {
    let Some(methods) = &file.methods else {
        return Methods::default();
    };
    let read = |text: &str| match Method::parse(text.as_bytes()) {
        Ok(method) => Ok(Box::from(method.as_str())),
        Err(_) => Err((
            format!("`{text}` is no method that can be asked for"),
            "write an upper-case method such as GET".to_owned(),
        )),
    };
    let methods = each(methods, &format!("{at}.methods"), "method", mistakes, read);
    Methods(methods.into_iter().map(|(_, method)| method).collect())
}

fn credentials(file: &RuleFile, at: &str, mistakes: &mut Mistakes) -> Vec<CredentialKind> {
    let Some(kinds) = &file.credentials else {
        return CredentialKind::DEFAULT.to_vec();
    };
    let at = format!("{at}.credentials");
    let who = match &file.allow {
        AllowFile::Who(who) => Some(*who),
        AllowFile::Demands(demands) => demands.who,
    };
    if who == Some(Who::Anonymous) {
        mistakes.add(&at, "an anonymous rule looks at no credential", "remove it, or write allow: authenticated");
    }
    if kinds.is_empty() {
        mistakes.add(
            &at,
            "the rule takes no kind of credential",
            "write [bearer], [cookie], or leave the key out for both",
        );
    }
    if kinds.iter().enumerate().any(|(i, kind)| kinds.iter().take(i).any(|k| k == kind)) {
        mistakes.add(&at, "a kind of credential stands twice", "name each kind once, the preferred one first");
    }
    kinds.clone()
}
