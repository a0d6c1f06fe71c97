//! Limits, compiled.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Mistakes;
use crate::policy::ClaimPath;
use crate::policy::document::{CountsFile, LimitFile, RatesFile, RuleFile, RuleLimitFile, RuleLimitsFile, TierFile};
use crate::policy::identity::wire_safe;
use crate::policy::limit::rate::MAX_BURST;
use crate::policy::limit::{Applied, By, Counts, Limit, Rate, Rates};

/// Most limits of a policy: each that applies to a request is asked at it.
const MAX_LIMITS: usize = 16;

/// The period of a limit that names none.
const SECOND: Duration = Duration::from_secs(1);

const NUMBERS: &str = "write rate: 20, period: 1min, burst: 40: each a number from 1, at most 100000 a second, a burst of at most 1000000, and \
                       at most a year from empty to full";

/// The limits of a policy, with what applies where a rule says nothing.
pub(super) struct Limits<'f> {
    each: Vec<(&'f LimitFile, Arc<Limit>, Option<Rates>)>,
    /// Which are named by rules.
    named: Vec<bool>,
}

impl<'f> Limits<'f> {
    pub(super) fn compile(files: &'f [LimitFile], mistakes: &mut Mistakes) -> Self {
        if files.len() > MAX_LIMITS {
            mistakes.add(
                "limits",
                format!("there are more than {MAX_LIMITS} limits"),
                "let rules override one limit instead",
            );
        }
        let mut each: Vec<(&LimitFile, Arc<Limit>, Option<Rates>)> = Vec::new();
        for (index, file) in files.iter().enumerate() {
            let at = format!("limits[{index}]");
            let is_name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b);
            if file.name.is_empty() || !file.name.bytes().all(is_name) {
                let remedy = "write lower-case letters, digits, `-` and `_`";
                mistakes.add(format!("{at}.name"), format!("`{}` is no name of a limit", file.name), remedy);
            }
            if let Some(first) = each.iter().position(|(_, other, _)| *other.name == *file.name) {
                let what = format!("the name `{}` is taken by limits[{first}]", file.name);
                mistakes.add(format!("{at}.name"), what, "give each limit a name of its own");
            }
            let counts = match file.counts {
                CountsFile::Requests => Counts::Requests,
                CountsFile::Unauthenticated => Counts::Unauthenticated,
                CountsFile::Failures => Counts::Failures,
            };
            let by = by(file, &at, mistakes);
            let limit = Arc::new(Limit { name: file.name.as_str().into(), index, by, counts });
            let numbers = Numbers::of_limit(file);
            let rates = match (file.rate, &file.period, file.burst, file.tiers.is_empty()) {
                // Only where a rule gives numbers.
                (None, _, None, true) => None,
                _ => numbers.rates(SECOND, &at, mistakes),
            };
            each.push((file, limit, rates));
        }
        let named = vec![false; each.len()];
        Self { each, named }
    }

    /// Those that apply to the requests of a rule.
    pub(super) fn of(&mut self, rule: &RuleFile, at: &str, mistakes: &mut Mistakes) -> Vec<Applied> {
        let nothing = BTreeMap::new();
        let own = match &rule.limits {
            Some(RuleLimitsFile::Exempt) => return Vec::new(),
            Some(RuleLimitsFile::Each(own)) => own,
            None => &nothing,
        };
        for name in own.keys().filter(|name| !self.each.iter().any(|(_, limit, _)| *limit.name == ***name)) {
            let names: Vec<&str> = self.each.iter().map(|(file, ..)| file.name.as_str()).collect();
            let remedy = if names.is_empty() {
                "add it to `limits` at the top of the policy".to_owned()
            } else {
                format!("write one of {}", names.join(", "))
            };
            mistakes.add(format!("{at}.limits.{name}"), format!("there is no limit `{name}`"), remedy);
        }
        let mut applied = Vec::new();
        for ((file, limit, usual), named) in self.each.iter().zip(&mut self.named) {
            let (rates, is_own) = match own.get(&file.name) {
                Some(RuleLimitFile::Exempt) => continue,
                Some(RuleLimitFile::Rates(rates)) => {
                    *named = true;
                    let at = format!("{at}.limits.{}", file.name);
                    let mut rates = Numbers::of(rates).below(&Numbers::of_limit(file)).rates(SECOND, &at, mistakes);
                    if let (Some(rates), Some(usual)) = (&mut rates, usual) {
                        rates.keep_exempt(usual);
                    }
                    (rates, true)
                }
                None => (usual.clone(), false),
            };
            if let Some(rates) = rates {
                let by_tier = !rates.tiers.is_empty();
                if by_tier && limit.counts != Counts::Requests {
                    let at =
                        if is_own { format!("{at}.limits.{}", file.name) } else { format!("limits[{}]", limit.index) };
                    // Said once for the limit itself.
                    if is_own || mistakes.none_below(&format!("{at}.tiers")) {
                        mistakes.add(
                            format!("{at}.tiers"),
                            "whose requests it counts is not known, and so no tier",
                            "remove `tiers`",
                        );
                    }
                }
                applied.push(Applied { limit: Arc::clone(limit), rates, is_own });
            }
        }
        applied
    }

    /// Complains of limits that limit nothing.
    pub(super) fn finish(&self, mistakes: &mut Mistakes) {
        for ((file, limit, usual), named) in self.each.iter().zip(&self.named) {
            let at = format!("limits[{}]", limit.index);
            if usual.is_none() && !named && mistakes.none_below(&at) {
                let what =
                    format!("the limit `{}` limits nothing: it has no `rate`, and no rule gives it one", file.name);
                mistakes.add(at, what, NUMBERS);
            }
        }
    }

    /// The names of claims that buckets are told apart by.
    pub(super) fn claims(&self) -> impl Iterator<Item = &str> {
        let by = self.each.iter().flat_map(|(_, limit, _)| &limit.by);
        by.filter_map(|by| {
            let By::Claim(path) = by else { return None };
            path.first()
        })
    }

    pub(super) fn into_limits(self) -> Vec<Arc<Limit>> {
        self.each.into_iter().map(|(_, limit, _)| limit).collect()
    }
}

fn by(file: &LimitFile, at: &str, mistakes: &mut Mistakes) -> Vec<By> {
    let at = format!("{at}.by");
    let mut by = Vec::new();
    for name in &file.by.0 {
        let one = match &**name {
            "user" => By::User,
            "tenant" => By::Tenant,
            "tier" => By::Tier,
            "client" => By::Client,
            "rule" => By::Rule,
            other => match other.strip_prefix("claim:").map(ClaimPath::new) {
                Some(path) if path.is_sane() => By::Claim(path),
                Some(_) | None => {
                    let what = format!("`{other}` tells no buckets apart");
                    mistakes.add(&at, what, "write user, tenant, tier, client, rule or claim:PATH, or a list of these");
                    continue;
                }
            },
        };
        if by.contains(&one) {
            mistakes.add(&at, format!("`{name}` stands twice"), "name each once");
        }
        if file.counts != CountsFile::Requests && !matches!(one, By::Client | By::Rule) {
            let what = format!("of the requests that it counts `{name}` is not known");
            mistakes.add(&at, what, "write by: client, or by: [client, rule]");
        }
        by.push(one);
    }
    if file.counts != CountsFile::Requests && by == [By::Rule] {
        let what = "one stranger could use up what is everybody's";
        mistakes.add(&at, what, "write by: client, or by: [client, rule]");
    }
    if file.by.0.is_empty() {
        mistakes.add(&at, "the list is empty", "write user, tenant, tier, client, rule or claim:PATH");
    }
    by
}

/// Numbers as they are written.
#[derive(Clone, Copy)]
struct Numbers<'f> {
    rate: Option<u32>,
    period: Option<&'f str>,
    burst: Option<u32>,
    tiers: Option<&'f BTreeMap<String, TierFile>>,
}

impl<'f> Numbers<'f> {
    fn of(file: &'f RatesFile) -> Self {
        Self { rate: file.rate, period: file.period.as_deref(), burst: file.burst, tiers: Some(&file.tiers) }
    }

    fn of_limit(file: &'f LimitFile) -> Self {
        Self { rate: file.rate, period: file.period.as_deref(), burst: file.burst, tiers: Some(&file.tiers) }
    }

    /// With what `above` says where these say nothing. A burst belongs to its rate.
    fn below(self, above: &Self) -> Self {
        Self {
            rate: self.rate.or(above.rate),
            period: self.period.or(above.period),
            burst: self.burst.or(above.burst.filter(|_| self.rate.is_none())),
            tiers: self.tiers,
        }
    }

    fn rates(&self, period: Duration, at: &str, mistakes: &mut Mistakes) -> Option<Rates> {
        let otherwise = self.rate(period, at, mistakes);
        let mut tiers = Vec::new();
        for (tier, file) in self.tiers.into_iter().flatten() {
            let at = format!("{at}.tiers.{tier}");
            if tier.trim().is_empty() {
                mistakes.add(&at, "the tier has no name", "write the tier as tokens name it");
            }
            let rate = match file {
                TierFile::Exempt => None,
                TierFile::Rate(file) => {
                    if !file.tiers.is_empty() {
                        mistakes.add(format!("{at}.tiers"), "a tier has no tiers", "remove it");
                    }
                    Some(Self::of(file).below(self).rate(period, &at, mistakes)?)
                }
            };
            tiers.push((wire_safe(tier).into(), rate));
        }
        Some(Rates { otherwise: otherwise?, tiers })
    }

    fn rate(&self, period: Duration, at: &str, mistakes: &mut Mistakes) -> Option<Rate> {
        let mut wrong = |key: &str, what: String, remedy: &str| mistakes.add(format!("{at}{key}"), what, remedy);
        let period = match self.period.map(|text| (text, parse(text))) {
            None => period,
            Some((_, Some(period))) if !period.is_zero() => period,
            Some((text, _)) => {
                let what = format!("`{text}` is no length of time");
                wrong(".period", what, "write a number with its unit, such as 1s, 1min or 1h");
                return None;
            }
        };
        let Some(rate) = self.rate else {
            wrong(
                "",
                "there is no `rate`: nobody could tell how many tokens come in each `period`".to_owned(),
                NUMBERS,
            );
            return None;
        };
        let burst = self.burst.unwrap_or(rate.min(MAX_BURST));
        for (key, number) in [(".rate", rate), (".burst", burst)] {
            if number == 0 {
                wrong(key, "nobody would ever be let through".to_owned(), NUMBERS);
                return None;
            }
        }
        let made = Rate::new(rate, period, burst);
        if made.is_none() {
            let (key, what) = if burst > MAX_BURST {
                (".burst", format!("{burst} is more than {MAX_BURST}"))
            } else if Rate::new(rate, period, 1).is_none() {
                ("", "these are more than 100000 a second, or more than a year for one".to_owned())
            } else {
                ("", "from empty to full it would take more than a year".to_owned())
            };
            wrong(key, what, NUMBERS);
        }
        made
    }
}

fn parse(text: &str) -> Option<Duration> {
    humantime::parse_duration(text).ok()
}
