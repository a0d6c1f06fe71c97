//! L3: what was revoked before its time. Every replica holds all of it in memory ([`live`]), where a decision asks without
//! waiting; a store ([`store`]) is shared by the replicas and outlives them; [`register`] keeps the two together, and is what
//! revokes: for the admin API today, and for whatever ends sessions and accounts.

pub mod entry;
pub mod live;
pub mod register;
pub mod store;

pub use entry::{Entry, Id, Line, What, Written};
pub use live::Live;
pub use register::Register;
pub use store::Store;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::UnixTime;

/// How much longer than its tokens an entry lives: twice the longest leeway ([`crate::token::issuer::LONGEST_LEEWAY`]). By one a token may come from the future, by the other it
/// outlives its `exp`; and a leeway made longer afterwards revives nothing.
pub const GRACE: Duration = Duration::from_secs(120);

/// How revocations are kept, as configured.
#[derive(Debug)]
pub struct Setup {
    /// The set that the gate asks.
    pub live: Arc<Live>,
    /// Where they are kept.
    pub store: Kind,
    /// How often everything is compared.
    pub resync: Duration,
    /// How many there may be.
    pub max_entries: usize,
}

/// The kinds of stores.
#[derive(Debug)]
pub enum Kind {
    /// This file.
    Sqlite(PathBuf),
    /// This Redis.
    Redis(Box<store::redis::Redis>),
    /// Memory only.
    Memory,
}

impl Setup {
    /// The register, which asks `clock` what time it is.
    ///
    /// # Errors
    /// If a file cannot be used. A Redis that cannot be reached is waited for.
    pub async fn register(self, clock: fn() -> UnixTime) -> Result<Register, store::Failure> {
        let store: Box<dyn Store> = match self.store {
            Kind::Sqlite(file) => Box::new(store::sqlite::Sqlite::open(&file, clock).await?),
            Kind::Redis(redis) => redis,
            Kind::Memory => Box::new(store::memory::Memory::new(clock)),
        };
        Ok(Register::new(self.live, store, clock, self.resync, self.max_entries))
    }
}
