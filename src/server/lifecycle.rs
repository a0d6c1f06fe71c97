//! Alive, ready, draining.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::gate::Gate;
use crate::revocations::Register;

/// Whether it can decide and wants to.
#[derive(Debug, PartialEq, Eq)]
pub enum Readiness<'a> {
    /// It does both.
    Ready,
    /// The end has begun.
    Draining,
    /// The keys of these issuers have not come yet.
    WithoutKeys(Vec<&'a str>),
    /// What is revoked has not been loaded yet.
    WithoutRevocations,
    /// The listeners are not open yet.
    Starting,
}

/// Where the process is in its life.
#[derive(Debug, Default)]
pub struct Lifecycle {
    listening: AtomicBool,
    draining: AtomicBool,
    failed: AtomicBool,
}

impl Lifecycle {
    /// The listeners are open.
    pub fn listening(&self) {
        self.listening.store(true, Ordering::Release);
    }

    /// The end has begun.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Whether the end has begun.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Whether `gate` is ready: the listeners are open, the keys of every issuer and everything in the `register` are loaded, the end
    /// has not begun. The policy is compiled before anything listens. A register that can no longer be kept up to date does not
    /// count: it would be that of all replicas, and what needs no token would go down with the rest.
    #[must_use]
    pub fn readiness<'a>(&self, gate: &'a Gate, register: Option<&Register>) -> Readiness<'a> {
        let authenticator = gate.authenticator();
        let issuers = authenticator.issuers().enumerate();
        let without_keys: Vec<&str> = issuers
            .filter(|(index, _)| authenticator.keys().current(*index).is_none())
            .map(|(_, issuer)| &*issuer.name)
            .collect();
        if self.is_draining() {
            Readiness::Draining
        } else if !without_keys.is_empty() {
            Readiness::WithoutKeys(without_keys)
        } else if register.is_some_and(|register| !register.has_loaded()) {
            Readiness::WithoutRevocations
        } else if self.listening.load(Ordering::Acquire) {
            Readiness::Ready
        } else {
            Readiness::Starting
        }
    }

    /// Rehearses a dead process: `/health` says so until restart.
    pub fn fail(&self) {
        self.failed.store(true, Ordering::Release);
    }

    /// Whether a dead process is being rehearsed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }
}
