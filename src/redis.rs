//! L3: a Redis, whatever its shape: one server, servers behind Sentinels, or a cluster; [`address`] says how each is written. Where it is
//! asked from, a connection is taken and kept for as long as it works: the pool's own checkout would ask the server each time.

pub mod address;
mod maker;

use std::time::Duration;

use deadpool::managed::{Object, Pool, PoolError};
use deadpool_redis::redis::aio::{ConnectionLike, MultiplexedConnection};
use deadpool_redis::redis::cluster_async::ClusterConnection;
use deadpool_redis::redis::{Cmd, Pipeline, RedisError, RedisFuture, Value};
use secrecy::{ExposeSecret as _, SecretString};

use maker::Maker;

/// How many connections are made at once: enough for a gate that starts, and a bound for one whose Redis does not answer.
const MADE_AT_ONCE: usize = 64;

/// Why a Redis did not do what it was asked to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Failure(pub String);

impl From<RedisError> for Failure {
    /// What the library says, and what the server said to it.
    fn from(error: RedisError) -> Self {
        Self(error.to_string())
    }
}

/// Where a Redis is, and how a connection to it is made.
pub struct Redis {
    pool: Pool<Maker>,
    timeout: Duration,
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The pool would show its address, and whoever changes it one day, its password.
        f.write_str("Redis")
    }
}

impl Redis {
    /// The Redis at `url`, in one of the forms that [`address`] lists; with `ca`, PEM, only certificates that it signed are believed.
    /// Connecting ends within `timeout`, and so does every command on the connections. Connects to nothing yet.
    ///
    /// # Errors
    /// What is wrong with the URL or the authorities. The URL is not repeated: it may hold a password.
    pub fn new(url: &SecretString, ca: Option<Vec<u8>>, timeout: Duration) -> Result<Self, String> {
        let place = address::read(url.expose_secret())?;
        let maker = Maker::new(place, ca, timeout)?;
        let pool = Pool::builder(maker).max_size(MADE_AT_ONCE).build().map_err(|error| error.to_string())?;
        Ok(Self { pool, timeout })
    }

    /// A connection of the caller's own, driven by the runtime of whoever calls. Behind Sentinels it leads to whoever is master now: a
    /// connection that failed is to be given up for another.
    ///
    /// # Errors
    /// What the server or the network said, after the time-out at the latest.
    pub async fn connect(&self) -> Result<Link, Failure> {
        match tokio::time::timeout(self.timeout, self.pool.get()).await {
            Ok(Ok(made)) => Ok(Object::take(made)),
            Ok(Err(PoolError::Backend(error))) => Err(error.into()),
            Ok(Err(
                error @ (PoolError::Timeout(_)
                | PoolError::Closed
                | PoolError::NoRuntimeSpecified
                | PoolError::PostCreateHook(_)),
            )) => Err(Failure(error.to_string())),
            Err(_) => Err(Failure(format!("no connection within {:?}", self.timeout))),
        }
    }
}

/// A multiplexed connection: cloned, not checked out. The last clone takes it down.
#[derive(Clone)]
pub enum Link {
    /// To one server.
    One(MultiplexedConnection),
    /// To every master of a cluster.
    Cluster(ClusterConnection),
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::One(_) => "One",
            Self::Cluster(_) => "Cluster",
        })
    }
}

impl ConnectionLike for Link {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::One(connection) => connection.req_packed_command(cmd),
            Self::Cluster(connection) => connection.req_packed_command(cmd),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        cmd: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::One(connection) => connection.req_packed_commands(cmd, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(cmd, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::One(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}
