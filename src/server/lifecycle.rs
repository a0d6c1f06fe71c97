//! Alive, ready, draining.

use std::sync::atomic::{AtomicBool, Ordering};

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

    /// Whether new work is welcome, as far as the process itself goes.
    #[must_use]
    pub fn takes_work(&self) -> bool {
        self.listening.load(Ordering::Acquire) && !self.is_draining()
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
