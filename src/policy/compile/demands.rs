//! Demands, compiled.

use ipnet::IpNet;
use jiff::Timestamp;
use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use serde_json::Value;

use super::{Mistakes, claim_path};
use crate::policy::demand::{ClaimTest, EmailDomains, Freshness, Hours, Names, Pattern, Span};
use crate::policy::document::{AllowFile, AnyAll, ClaimDemandFile, Day, DemandsFile, FreshFile, TimesFile, Who};
use crate::policy::{Access, Demand, Expression};

/// Deepest nesting of `all`, `any` and `not`: what is deeper nobody can read.
const MAX_DEPTH: usize = 8;

pub(super) fn access(file: &AllowFile, at: &str, mistakes: &mut Mistakes) -> Access {
    let file = match file {
        AllowFile::Who(who) => return Access { who: *who, demands: Vec::new() },
        AllowFile::Demands(file) => file,
    };
    let who = file.who.unwrap_or(Who::Authenticated);
    let demands = demands(file, at, 0, mistakes);
    if who == Who::Anonymous && demands.iter().any(Demand::is_about_principal) {
        mistakes.add(
            at,
            "the rule demands something of a principal, and looks at no credential",
            "write who: authenticated, or who: optional, which lets strangers in where an alternative does not need to know them",
        );
    }
    Access { who, demands }
}

fn demands(file: &DemandsFile, at: &str, depth: usize, mistakes: &mut Mistakes) -> Vec<Demand> {
    let mut made = Vec::new();
    if depth > MAX_DEPTH {
        mistakes.add(at, format!("the demands are nested deeper than {MAX_DEPTH}"), "split the rule, or flatten them");
        return made;
    }
    if depth > 0 && file.who.is_some() {
        mistakes.add(format!("{at}.who"), "`who` is said once for the whole rule", "move it to the top of `allow`");
    }
    let mut list = |key: &str, list: &Option<AnyAll>, make: fn(Names) -> Demand| {
        made.extend(list.as_ref().map(|list| make(names(list, &format!("{at}.{key}"), mistakes))));
    };
    list("roles", &file.roles, Demand::Roles);
    list("groups", &file.groups, Demand::Groups);
    list("scopes", &file.scopes, Demand::Scopes);
    for (i, claim) in file.claims.iter().flatten().enumerate() {
        made.extend(claim_demand(claim, &format!("{at}.claims[{i}]"), mistakes));
    }
    if let Some(email) = &file.email {
        match EmailDomains::new(&email.domains) {
            Some(domains) => made.push(Demand::Email(domains)),
            None => mistakes.add(
                format!("{at}.email.domains"),
                "the list is empty or holds no domain",
                "write domains such as example.com (punycode for non-ASCII, no wildcards: subdomains belong to others)",
            ),
        }
    }
    if let Some(issuers) = &file.issuers {
        filled(issuers, &format!("{at}.issuers"), mistakes);
        made.push(Demand::Issuers(issuers.iter().map(|name| name.as_str().into()).collect()));
    }
    if let Some(networks) = &file.networks {
        if networks.is_empty() {
            mistakes.add(
                format!("{at}.networks"),
                "the list is empty",
                "write at least one network such as 10.0.0.0/8",
            );
        }
        for (i, network) in networks.iter().enumerate() {
            // Clients are known by their IPv4 addresses, however a proxy writes them.
            if let IpNet::V6(v6) = network
                && v6.addr().to_ipv4_mapped().is_some()
            {
                mistakes.add(
                    format!("{at}.networks[{i}]"),
                    format!("`{network}` is no network of any client: it is IPv4 written as IPv6"),
                    "write it as IPv4, such as 192.0.2.0/24",
                );
            }
        }
        made.push(Demand::Networks(networks.clone()));
    }
    if let Some(times) = &file.times {
        if times.is_empty() {
            mistakes.add(format!("{at}.times"), "the list is empty", "write at least one time of the week");
        }
        let hours =
            times.iter().enumerate().filter_map(|(i, times)| hours(times, &format!("{at}.times[{i}]"), mistakes));
        made.push(Demand::Hours(hours.collect()));
    }
    if file.from.is_some() || file.until.is_some() {
        made.push(Demand::Within(span(file, at, mistakes)));
    }
    if let Some(fresh) = &file.fresh {
        made.push(Demand::Fresh(freshness(fresh, &format!("{at}.fresh"), mistakes)));
    }
    if let Some(source) = &file.when {
        match Expression::compile(source) {
            Ok(expression) => made.push(Demand::When(expression)),
            Err((what, remedy)) => mistakes.add(format!("{at}.when"), what, remedy),
        }
    }
    nested(file, at, depth, &mut made, mistakes);
    let says_something = !made.is_empty() || file.claims.as_ref().is_some_and(|claims| !claims.is_empty());
    // A rule may say `who` and nothing else.
    if !says_something && file.who.is_none() && mistakes.none_below(at) {
        mistakes.add(
            at,
            "the map demands nothing",
            "write roles, scopes, claims or another demand, or the word authenticated",
        );
    }
    made
}

fn nested(file: &DemandsFile, at: &str, depth: usize, made: &mut Vec<Demand>, mistakes: &mut Mistakes) {
    let mut each = |files: &[DemandsFile], key: &str| -> Vec<Demand> {
        if files.is_empty() {
            mistakes.add(format!("{at}.{key}"), "the list is empty", "write at least one map of demands, or remove it");
        }
        let one = |(i, file)| one_of(demands(file, &format!("{at}.{key}[{i}]"), depth.saturating_add(1), mistakes));
        files.iter().enumerate().map(one).collect()
    };
    if let Some(all) = &file.all {
        made.push(Demand::All(each(all, "all")));
    }
    if let Some(any) = &file.any {
        made.push(Demand::Any(each(any, "any")));
    }
    if let Some(not) = &file.not {
        let not = one_of(demands(not, &format!("{at}.not"), depth.saturating_add(1), mistakes));
        made.push(Demand::Not(Box::new(not)));
    }
}

/// Several demands as one.
fn one_of(mut demands: Vec<Demand>) -> Demand {
    match (demands.pop(), demands.is_empty()) {
        (Some(only), true) => only,
        (last, _) => Demand::All(demands.into_iter().chain(last).collect()),
    }
}

fn filled(names: &[String], at: &str, mistakes: &mut Mistakes) {
    if names.is_empty() || names.iter().any(|name| name.trim().is_empty()) {
        mistakes.add(at, "the list is empty or holds an empty text", "write at least one name");
    }
}

fn names(list: &AnyAll, at: &str, mistakes: &mut Mistakes) -> Names {
    let (word, list) = match list {
        AnyAll::Any(list) => ("any", list),
        AnyAll::All(list) => ("all", list),
    };
    filled(list, &format!("{at}.{word}"), mistakes);
    let list = list.iter().map(|name| name.as_str().into()).collect();
    if word == "any" { Names::Any(list) } else { Names::All(list) }
}

fn claim_demand(file: &ClaimDemandFile, at: &str, mistakes: &mut Mistakes) -> Option<Demand> {
    claim_path(format!("{at}.claim"), &file.claim, mistakes);
    let values = file.equals.iter().chain(file.one_of.iter().flatten()).chain(&file.contains);
    if values.filter_map(Value::as_str).any(|text| text.trim().is_empty()) {
        mistakes.add(
            at,
            format!("the claim `{}` is tested against an empty text", file.claim),
            "write what it must be: tokens of strangers have empty claims, too",
        );
    }
    let test = match &file.matches {
        None => claim_test(file),
        Some(source) => match Pattern::compile(source) {
            Ok(pattern) if alone(file) => Some(ClaimTest::Matches(pattern)),
            Ok(_) => None,
            Err(why) => {
                let remedy = "write a regular expression; it is anchored at both ends without your doing";
                mistakes.add(format!("{at}.matches"), format!("`{source}` is no regular expression: {why}"), remedy);
                return None;
            }
        },
    };
    if test.is_none() {
        mistakes.add(
            at,
            format!("the claim `{}` needs exactly one test against texts, 64-bit integers or booleans", file.claim),
            "write one of equals: VALUE, in: [VALUE, ...], contains: VALUE, exists: BOOLEAN, matches: REGEX; quote what is no such number",
        );
    }
    test.map(|test| Demand::Claim(file.claim.clone(), test))
}

/// Whether `matches` is the only test.
fn alone(file: &ClaimDemandFile) -> bool {
    file.equals.is_none() && file.one_of.is_none() && file.contains.is_none() && file.exists.is_none()
}

fn claim_test(file: &ClaimDemandFile) -> Option<ClaimTest> {
    // Numbers that fit no 64-bit integer are compared as doubles, where many are equal.
    let scalar = |value: &Value| value.is_string() || value.is_boolean() || value.is_i64() || value.is_u64();
    match (&file.equals, &file.one_of, &file.contains, file.exists) {
        (Some(value), None, None, None) if scalar(value) => Some(ClaimTest::Equals(value.clone())),
        (None, Some(values), None, None) if !values.is_empty() && values.iter().all(scalar) => {
            Some(ClaimTest::In(values.clone()))
        }
        (None, None, Some(value), None) if scalar(value) => Some(ClaimTest::Contains(value.clone())),
        (None, None, None, Some(wanted)) => Some(ClaimTest::Exists(wanted)),
        _ => None,
    }
}

fn hours(file: &TimesFile, at: &str, mistakes: &mut Mistakes) -> Option<Hours> {
    let mut time = |key: &str, text: &str| {
        let read = (text.len() == 5).then(|| text.parse::<Time>().ok()).flatten();
        if read.is_none() {
            let what = format!("`{text}` is no time of the day");
            mistakes.add(format!("{at}.{key}"), what, "write hours and minutes in quotes, such as \"08:00\"");
        }
        read
    };
    let (from, to) = (time("from", &file.from), time("to", &file.to));
    if from.is_some() && from == to {
        mistakes.add(at, "it ends when it begins", "write different times, or leave `times` out for all day");
    }
    let zone = file.zone.as_deref().unwrap_or("UTC");
    let zone = TimeZone::get(zone).map_err(|_| {
        let what = format!("`{zone}` is no time zone");
        mistakes.add(format!("{at}.zone"), what, "write a name of the IANA database such as Europe/Berlin or UTC");
    });
    Some(Hours { days: file.days.iter().map(|day| weekday(*day)).collect(), from: from?, to: to?, zone: zone.ok()? })
}

fn weekday(day: Day) -> Weekday {
    match day {
        Day::Mon => Weekday::Monday,
        Day::Tue => Weekday::Tuesday,
        Day::Wed => Weekday::Wednesday,
        Day::Thu => Weekday::Thursday,
        Day::Fri => Weekday::Friday,
        Day::Sat => Weekday::Saturday,
        Day::Sun => Weekday::Sunday,
    }
}

fn span(file: &DemandsFile, at: &str, mistakes: &mut Mistakes) -> Span {
    let mut moment = |key: &str, text: &Option<String>| {
        let text = text.as_ref()?;
        let read = text.parse::<Timestamp>().ok();
        if read.is_none() {
            let what = format!("`{text}` is no moment");
            mistakes.add(format!("{at}.{key}"), what, "write date, time and offset, such as 2027-01-01T00:00:00Z");
        }
        read
    };
    let span = Span { from: moment("from", &file.from), until: moment("until", &file.until) };
    if let (Some(from), Some(until)) = (span.from, span.until)
        && from >= until
    {
        mistakes.add(format!("{at}.until"), "it ends before it begins", "write a later moment");
    }
    span
}

fn freshness(file: &FreshFile, at: &str, mistakes: &mut Mistakes) -> Freshness {
    let max_age = file.max_age.as_ref().and_then(|text| {
        let read = humantime::parse_duration(text).ok().filter(|age| !age.is_zero());
        if read.is_none() {
            let what = format!("`{text}` is no length of time");
            mistakes.add(format!("{at}.max_age"), what, "write a number with its unit, such as 15m");
        }
        read
    });
    if let Some(acr) = &file.acr {
        filled(acr, &format!("{at}.acr"), mistakes);
        if acr.iter().any(|acr| !acr.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\')) {
            mistakes.add(
                format!("{at}.acr"),
                "a context class cannot stand in a challenge",
                "write printable ASCII without blanks, quotes and backslashes",
            );
        }
    }
    if file.max_age.is_none() && file.acr.is_none() && file.amr.is_none() {
        mistakes.add(at, "nothing is demanded of the sign-in", "write max_age, acr or amr");
    }
    Freshness {
        max_age,
        acr: file.acr.iter().flatten().map(|acr| acr.as_str().into()).collect(),
        amr: file.amr.as_ref().map(|amr| names(amr, &format!("{at}.amr"), mistakes)),
    }
}
