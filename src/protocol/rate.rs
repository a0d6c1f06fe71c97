//! What an answer says of limits: `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10), and the older
//! `X-RateLimit-*`.

use std::borrow::Cow;
use std::time::Duration;

use crate::policy::limit::{LimitHeaders, Metered};

/// The names of the headers.
pub(super) const HEADERS: [&str; 6] =
    [RETRY_AFTER, "ratelimit", "ratelimit-policy", "x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"];

const RETRY_AFTER: &str = "retry-after";

/// How long to wait until one more request passes (RFC 9110 section 10.2.3): enough for it, and so rounded up.
pub(super) fn retry_after(metered: &Metered) -> (&'static str, Cow<'static, str>) {
    (RETRY_AFTER, Cow::Owned(seconds(metered.level.next_in).to_string()))
}

/// The headers that the policy chose, about these buckets.
///
/// The quota of a bucket is what it holds, and its window the time from empty to full: who uses it evenly may do just that. `t` (and
/// `X-RateLimit-Reset`, in seconds) is the time until there is a token if there is none, and else until the bucket is full.
pub(super) fn headers(metered: &[Metered], chosen: LimitHeaders) -> Vec<(&'static str, Cow<'static, str>)> {
    if metered.is_empty() {
        return Vec::new();
    }
    let [_, limits, policies, x_limit, x_remaining, x_reset] = HEADERS;
    let list = |one: &dyn Fn(&Metered) -> String| metered.iter().map(one).collect::<Vec<_>>().join(", ");
    let draft = chosen.draft.then(|| {
        let policy = |one: &Metered| {
            format!("\"{}\";q={};w={}", one.limit.name, one.level.rate.burst(), seconds(one.level.rate.window()))
        };
        let limit = |one: &Metered| format!("\"{}\";r={};t={}", one.limit.name, one.level.left, reset(one));
        [(limits, list(&limit)), (policies, list(&policy))]
    });
    // It knows one bucket only: that of which least is left.
    let tightest =
        metered.iter().filter(|_| chosen.x).min_by_key(|one| (one.level.left, std::cmp::Reverse(reset(one))));
    let x = tightest.map(|one| {
        [
            (x_limit, one.level.rate.burst().to_string()),
            (x_remaining, one.level.left.to_string()),
            (x_reset, reset(one).to_string()),
        ]
    });
    let both = draft.into_iter().flatten().chain(x.into_iter().flatten());
    both.map(|(name, value)| (name, Cow::Owned(value))).collect()
}

fn reset(one: &Metered) -> u64 {
    seconds(if one.level.left == 0 { one.level.next_in } else { one.level.full_in })
}

/// Whole seconds, rounded up.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::policy::limit::{Counts, Limit, Rate};

    fn metered(name: &str, full_in: Duration) -> Metered {
        let rate = Rate::new(20, Duration::from_secs(60), 40).expect("a rate");
        let limit = Arc::new(Limit { name: name.into(), index: 0, by: Vec::new(), counts: Counts::Requests });
        Metered { limit, level: rate.level_of(full_in) }
    }

    #[test]
    fn what_is_said() {
        let said = |metered: &[Metered], draft, x| -> Vec<String> {
            let chosen = LimitHeaders { draft, x, on_allow: false };
            headers(metered, chosen).iter().map(|(name, value)| format!("{name}: {value}")).collect()
        };
        let empty = metered("user", Duration::from_millis(119_500));
        assert_eq!(retry_after(&empty), ("retry-after", "3".into()));
        assert_eq!(
            said(std::slice::from_ref(&empty), true, true),
            [
                "ratelimit: \"user\";r=0;t=3",
                "ratelimit-policy: \"user\";q=40;w=120",
                "x-ratelimit-limit: 40",
                "x-ratelimit-remaining: 0",
                "x-ratelimit-reset: 3"
            ]
        );
        let used = metered("rule", Duration::from_secs(9));
        assert_eq!(
            said(&[used.clone(), metered("user", Duration::from_secs(30))], true, false),
            [
                "ratelimit: \"rule\";r=37;t=9, \"user\";r=30;t=30",
                "ratelimit-policy: \"rule\";q=40;w=120, \"user\";q=40;w=120"
            ]
        );
        assert_eq!(said(&[used, empty], false, true)[1], "x-ratelimit-remaining: 0");
        assert!(said(&[], true, true).is_empty() && said(&[metered("a", Duration::ZERO)], false, false).is_empty());
    }
}
