//! What one request takes from the buckets of limits, and when.
//!
//! All buckets of a request are asked at once, and all of them give or none, so that a refusal costs nobody anything. Only where a
//! credential must be proven first, which costs, are those asked before it that do not depend on who it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use smallvec::SmallVec;

use super::ports::{Bucket, KeptBy, Taken};
use super::{Ask, InForce, Limiter, Toll};
use crate::clock::UnixTime;
use crate::policy::limit::key::Whose;
use crate::policy::limit::{Applied, Counts, Level, Metered};
use crate::policy::{Class, Decision, Policy, Principal, Reason, Refusal, Rule, Step};

/// How often each limit of a policy let a request through, and how often it did not.
#[derive(Debug)]
pub(super) struct Tallies(Vec<(Box<str>, Arc<Tally>)>);

#[derive(Debug, Default)]
struct Tally {
    allowed: AtomicU64,
    limited: AtomicU64,
}

impl Tallies {
    /// From zero.
    pub(super) fn of(policy: &Policy) -> Self {
        Self(policy.limits.iter().map(|limit| (limit.name.clone(), Arc::default())).collect())
    }

    /// Goes on counting where `earlier` ones have the same names.
    pub(super) fn go_on_from(&mut self, earlier: &Self) {
        for (name, tally) in &mut self.0 {
            if let Some((_, earlier)) = earlier.0.iter().find(|(other, _)| other == name) {
                *tally = Arc::clone(earlier);
            }
        }
    }

    /// Name, allowed, limited.
    pub(super) fn each(&self) -> impl Iterator<Item = (&str, u64, u64)> {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        self.0.iter().map(move |(name, tally)| (&**name, read(&tally.allowed), read(&tally.limited)))
    }

    fn count(&self, applied: &Applied, count: impl Fn(&Tally) -> &AtomicU64) {
        if let Some((_, tally)) = self.0.get(applied.limit.index) {
            count(tally).fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What a decision is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A request: tokens are taken.
    Answer,
    /// Somebody who wants to know: they are looked at.
    Explain,
}

/// The turn of one request.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    limiter: &'a dyn Limiter,
    purpose: Purpose,
    in_force: &'a InForce,
    rule: &'a Arc<Rule>,
    ask: &'a Ask<'a>,
    now: UnixTime,
    /// Those that the request is under.
    limits: &'a [Applied],
    held: SmallVec<[Held<'a>; 2]>,
    empty: Option<Box<Metered>>,
    has_paid: bool,
    has_failed: bool,
}

/// A bucket from which a token was taken.
#[derive(Debug)]
struct Held<'a> {
    applied: &'a Applied,
    bucket: Bucket,
    level: Option<Level>,
    by: KeptBy,
}

impl<'a> Turn<'a> {
    /// The turn of a request under `rule`. The second half of a chain takes nothing: the first has.
    pub(super) fn new(
        limiter: &'a dyn Limiter,
        purpose: Purpose,
        in_force: &'a InForce,
        rule: &'a Arc<Rule>,
        ask: &'a Ask<'a>,
        now: UnixTime,
    ) -> Self {
        let limits: &[Applied] = if ask.step == Step::Authorize { &[] } else { &rule.limits };
        Self {
            limiter,
            purpose,
            in_force,
            rule,
            ask,
            now,
            limits,
            held: SmallVec::new(),
            empty: None,
            has_paid: false,
            has_failed: false,
        }
    }

    /// Lets somebody through whom nobody knows.
    ///
    /// # Errors
    /// The refusal, if a bucket is empty or nobody knows.
    pub(super) async fn stranger(&mut self) -> Result<(), Refusal> {
        let taken = self.take(|applied| applied.limit.counts != Counts::Failures, None).await;
        taken.map_err(|reason| self.refusal(reason, None))
    }

    /// Lets the question of a browser through that comes before a request, which is counted then. From what is somebody's it takes nothing.
    ///
    /// # Errors
    /// As of [`Turn::stranger`].
    pub(super) async fn preflight(&mut self) -> Result<(), Refusal> {
        let taken = self.take(|applied| applied.is_early() && applied.limit.counts != Counts::Failures, None).await;
        taken.map_err(|reason| self.refusal(reason, None))
    }

    /// Lets somebody through who is known. What was taken because he was not yet is given back.
    ///
    /// # Errors
    /// As of [`Turn::stranger`].
    pub(super) async fn principal(&mut self, principal: &Arc<Principal>) -> Result<(), Refusal> {
        self.give_back(|applied| applied.limit.counts != Counts::Requests);
        let taken = self.take(|applied| applied.limit.counts == Counts::Requests, Some(principal)).await;
        taken.map_err(|reason| self.refusal(reason, Some(principal)))
    }

    /// Counts a request that is refused for its credential or for want of one, and tells the refusal: that one, or that it is limited.
    pub(super) async fn refused(&mut self, reason: Reason) -> Refusal {
        let taken = match reason.class() {
            Class::Unauthenticated if reason == Reason::NoCredential => {
                self.take(|applied| applied.is_early() && applied.limit.counts != Counts::Failures, None).await
            }
            Class::Unauthenticated | Class::AmbiguousCredential => {
                self.has_failed = true;
                self.take(Applied::is_early, None).await
            }
            Class::Unable => {
                // It was not the asker's fault.
                self.give_back(|applied| applied.limit.counts != Counts::Requests);
                Ok(())
            }
            Class::Malformed | Class::Forbidden | Class::Barred | Class::Limited | Class::NoEndpoint => Ok(()),
        };
        self.refusal(taken.err().unwrap_or(reason), None)
    }

    /// Ends it: what was taken is counted, and told if the policy says so.
    pub(super) fn end(mut self, decision: Decision) -> Decision {
        let held = std::mem::take(&mut self.held);
        if self.purpose == Purpose::Answer {
            let tallies = &self.in_force.tallies;
            held.iter().for_each(|held| tallies.count(held.applied, |tally| &tally.allowed));
        }
        if self.limits.is_empty() || !self.in_force.policy.limit_headers.on_allow {
            return decision;
        }
        let metered = held
            .into_iter()
            .filter_map(|held| Some(Metered { limit: Arc::clone(&held.applied.limit), level: held.level? }));
        decision.map(|grant| grant.telling(metered.collect()))
    }

    /// Takes from each wanted bucket from which nothing was taken yet.
    async fn take(&mut self, wanted: impl Fn(&Applied) -> bool, principal: Option<&Principal>) -> Result<(), Reason> {
        if self.limits.is_empty() {
            return Ok(());
        }
        let default_tier = &*self.in_force.policy.identity.default_tier;
        let who = principal.map(Into::into);
        let whose = Whose { rule: &self.rule.id, client: self.ask.facts.client, who, default_tier };
        let mut asked: SmallVec<[&Applied; 2]> = SmallVec::new();
        let mut buckets: SmallVec<[Bucket; 2]> = SmallVec::new();
        for applied in self.limits.iter().filter(|applied| wanted(applied)) {
            let is_held = self.held.iter().any(|held| std::ptr::eq(held.applied, applied));
            if let Some(rate) = applied.rates.of(whose.tier()).filter(|_| !is_held) {
                // Longer than nearly all of them, so that it does not grow while it is written.
                let mut key = String::with_capacity(96);
                applied.write_key(&whose, &mut key);
                // Whether it fails is not known before: until then there must only be one.
                let counts = applied.limit.counts != Counts::Failures || self.has_failed;
                asked.push(applied);
                buckets.push(Bucket { key, rate: *rate, takes: counts && self.purpose == Purpose::Answer });
            }
        }
        if asked.is_empty() {
            return Ok(());
        }
        match self.limiter.take(&buckets, self.now).answer().await {
            Taken::All(levels, by) => {
                let each = asked.into_iter().zip(buckets).enumerate();
                let held =
                    each.map(|(i, (applied, bucket))| Held { applied, bucket, level: levels.get(i).copied(), by });
                self.held
                    .extend(held.filter(|held| held.applied.limit.counts != Counts::Failures || held.bucket.takes));
                Ok(())
            }
            Taken::Empty(which, level) => {
                if let Some(applied) = asked.get(which) {
                    let limit = Arc::clone(&applied.limit);
                    self.empty = Some(Box::new(Metered { limit, level }));
                    if self.purpose == Purpose::Answer {
                        self.in_force.tallies.count(applied, |tally| &tally.limited);
                    }
                }
                self.give_back(|_| true);
                Err(Reason::RateLimited)
            }
            Taken::Unknown => {
                self.give_back(|_| true);
                Err(Reason::LimitsUnavailable)
            }
        }
    }

    fn give_back(&mut self, which: impl Fn(&Applied) -> bool) {
        let mut i = 0;
        while let Some(held) = self.held.get(i) {
            if which(held.applied) {
                let held = self.held.swap_remove(i);
                if held.bucket.takes {
                    self.limiter.give_back(std::slice::from_ref(&held.bucket), held.by, self.now);
                }
            } else {
                i = i.saturating_add(1);
            }
        }
    }

    fn refusal(&mut self, reason: Reason, principal: Option<&Arc<Principal>>) -> Refusal {
        Refusal { metered: self.empty.take(), principal: principal.cloned(), ..Refusal::under(self.rule, reason) }
    }
}

/// A decision that is given up, by its deadline or because the client has left, has cost nobody anything.
impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.give_back(|_| true);
    }
}

impl Toll for Turn<'_> {
    /// A credential is about to be proven: whoever sends many that do not hold is turned away before that costs anything.
    async fn pay(&mut self) -> Result<(), Reason> {
        if std::mem::replace(&mut self.has_paid, true) {
            return Ok(());
        }
        self.take(Applied::is_early, None).await
    }
}
