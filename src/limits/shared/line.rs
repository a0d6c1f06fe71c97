//! A connection of one thread, and how long it is waited for.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use deadpool_redis::redis::RedisError;
use futures_util::future::poll_immediate;
use tokio::sync::OnceCell;

use crate::redis::{Failure, Link};

/// How often other tasks run before a silence is believed: one that reads the socket, one that hands over what it read, and one more.
const LOOKS: usize = 3;

/// The connection of one thread.
#[derive(Clone, Default)]
pub(super) struct Place {
    pub(super) line: Arc<Line>,
    /// After how many losses it was made.
    pub(super) losses: u64,
}

/// A connection, or the making of it.
#[derive(Default)]
pub(super) struct Line {
    pub(super) link: OnceCell<Link>,
    /// How many answers came on it.
    pub(super) answers: AtomicU64,
}

/// Waits for an answer for as long as others come on the same connection, and for the time-out if none does. It is Redis that is to be
/// judged, not this process: whoever sends so much that the thread is late, or a machine that stands still for a while, must not make
/// it count as lost.
pub(super) async fn patiently<T>(
    timeout: Duration,
    answers: &AtomicU64,
    asked: impl Future<Output = Result<T, RedisError>>,
) -> Result<Result<T, RedisError>, Failure> {
    let mut asked = pin!(asked);
    loop {
        let before = answers.load(Ordering::Relaxed);
        let mut answer = tokio::time::timeout(timeout, asked.as_mut()).await.ok();
        // The time may have passed because nobody here looked: then the answer lies in the socket, which is looked at in between.
        for _ in 0..LOOKS {
            if answer.is_none() {
                tokio::task::yield_now().await;
                answer = poll_immediate(asked.as_mut()).await;
            }
        }
        match answer {
            Some(answer) => {
                answers.fetch_add(1, Ordering::Relaxed);
                return Ok(answer);
            }
            None if answers.load(Ordering::Relaxed) == before => {
                return Err(Failure(format!("no answer within {:?}", timeout)));
            }
            None => {}
        }
    }
}
