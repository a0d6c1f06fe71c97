//! What the gate needs of the world.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::token::KeySet;

/// A boxed future that borrows; only the cold path allocates one.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The keys of the configured issuers, counted as they are configured.
pub trait Keys: std::fmt::Debug + Send + Sync {
    /// The keys of an issuer as they are known now; none if they were never loaded. Never waits.
    fn current(&self, issuer: usize) -> Option<Arc<KeySet>>;

    /// Keys newer than [`Keys::current`] with one of the name `kid`, asked for because a token names it and it is not there.
    /// May wait, within bounds of its own; none if there are no such keys.
    fn newer<'a>(&'a self, issuer: usize, kid: &'a str) -> BoxFuture<'a, Option<Arc<KeySet>>>;
}
