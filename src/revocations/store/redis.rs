//! Redis, shared by every replica: a hash with the lines, a sorted set with their ends, and a stream of changes.
//!
//! Its keys carry one hash tag, so that they stand together in a cluster, too. Redis may lose everything: then whoever holds
//! lines writes them back, see [`crate::revocations::Register`].

use std::time::Duration;

use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::streams::{StreamReadOptions, StreamReadReply};
use deadpool_redis::redis::{
    self, AsyncConnectionConfig, Client, ConnectionInfo, InfoDict, IntoConnectionInfo as _, RedisError, Script,
    TlsCertificates,
};
use deadpool_redis::{Connection, Manager, Pool, PoolError, Runtime};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Mutex;

use super::{Answer, Failure, KEEP, NEWS_EVERY, News, PAGE, Page, Standing, Store, TIMEOUT};
use crate::revocations::entry::{Line, Written};

const BODIES: &str = "{portcullis:revocations}:bodies";
const ENDS: &str = "{portcullis:revocations}:ends";
const NUMBER: &str = "{portcullis:revocations}:number";
const FEED: &str = "{portcullis:revocations}:feed";
const EPOCH: &str = "{portcullis:revocations}:epoch";
const WRITING: &str = "{portcullis:revocations}:writing";

/// How many changes the feed keeps, about: minutes of a busy sign-out. Who was away for longer compares everything, as after
/// every interruption.
const FEED_LENGTH: usize = 10_000;

/// How long after a loss of data a replica that starts must wait for those that hold entries: they come back within one pause of
/// 1.1 s and one connection of 1 s; twice that, and what follows.
const SETTLES_IN: Duration = Duration::from_secs(5);

/// How long after one page of a write-back the next is still expected: each takes at most [`TIMEOUT`].
const WRITING_FOR: Duration = Duration::from_secs(2);

/// How many lines one script merges: Redis serves nobody else meanwhile, for about a millisecond.
const MERGED_AT_ONCE: usize = 100;

/// Redis as a store.
pub struct Redis {
    pool: Pool,
    /// Waits for news: nothing else can be asked on it meanwhile.
    feed: Mutex<Option<MultiplexedConnection>>,
    /// For everything else. It is shared by cloning; the pool's own checkout would ask the server each time.
    work: Mutex<Option<MultiplexedConnection>>,
    standing: Script,
    merge: Script,
    sweep: Script,
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The pool would show its address, and whoever changes it one day, its password.
        f.write_str("Redis")
    }
}

impl Redis {
    /// The Redis at `url`: `redis://` or, with TLS, `rediss://`; with `ca`, PEM, only certificates that it signed are believed.
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// What is wrong with the URL or the authorities. The URL is not repeated: it may hold a password.
    pub fn new(url: &SecretString, ca: Option<Vec<u8>>) -> Result<Self, String> {
        let info = Self::address(url, ca)?;
        let connection =
            AsyncConnectionConfig::new().set_connection_timeout(Some(TIMEOUT)).set_response_timeout(Some(TIMEOUT));
        let manager = Manager::new_with_config(info, connection).map_err(|error| said(&error))?;
        let pool = Pool::builder(manager)
            .max_size(2)
            .wait_timeout(Some(TIMEOUT))
            .create_timeout(Some(TIMEOUT))
            .recycle_timeout(Some(TIMEOUT))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self {
            pool,
            feed: Mutex::new(None),
            work: Mutex::new(None),
            standing: Script::new(include_str!("standing.lua")),
            merge: Script::new(include_str!("merge.lua")),
            sweep: Script::new(include_str!("sweep.lua")),
        })
    }

    fn address(url: &SecretString, ca: Option<Vec<u8>>) -> Result<ConnectionInfo, String> {
        let url = url.expose_secret();
        if !["redis://", "rediss://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err("this is no URL of a Redis".to_owned());
        }
        let info = url.into_connection_info().map_err(|_| "this is no URL of a Redis".to_owned())?;
        if url.ends_with("#insecure") {
            return Err("a certificate that nobody checks protects from nobody; name ca_file".to_owned());
        }
        if !url.starts_with("rediss://") {
            return if ca.is_some() { Err("ca_file is of no use without TLS".to_owned()) } else { Ok(info) };
        }
        let certificates = TlsCertificates { client_tls: None, root_cert: ca };
        let client = Client::build_with_tls(info, certificates).map_err(|error| said(&error))?;
        Ok(client.get_connection_info().clone())
    }

    /// A connection of its own for `place`, kept there for as long as it works.
    async fn connection(&self, place: &Mutex<Option<MultiplexedConnection>>) -> Result<MultiplexedConnection, Failure> {
        let mut place = place.lock().await;
        if let Some(connection) = &*place {
            return Ok(connection.clone());
        }
        let taken = Connection::take(self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => Failure(said(&error)),
            PoolError::Timeout(_)
            | PoolError::Closed
            | PoolError::NoRuntimeSpecified
            | PoolError::PostCreateHook(_) => Failure(error.to_string()),
        })?);
        *place = Some(taken.clone());
        Ok(taken)
    }

    /// After a failure the connection is given up: what it still answers belongs to questions that nobody waits for.
    async fn given_up<T>(
        place: &Mutex<Option<MultiplexedConnection>>,
        answer: Result<T, RedisError>,
    ) -> Result<T, Failure> {
        if answer.is_err() {
            *place.lock().await = None;
        }
        answer.map_err(|error| Failure(said(&error)))
    }

    async fn ask_standing(connection: &mut MultiplexedConnection, script: &Script) -> Result<Standing, RedisError> {
        let info: InfoDict = redis::cmd("INFO").arg("server").query_async(connection).await?;
        let run: String = info.get("run_id").unwrap_or_default();
        let mut call = script.prepare_invoke();
        call.key(EPOCH).key(NUMBER).key(WRITING).key(BODIES).key(ENDS);
        call.arg(run).arg(format!("{:032x}", fastrand::u128(..))).arg(millis(SETTLES_IN));
        let (epoch, last, is_settled): (String, u64, bool) = call.invoke_async(connection).await?;
        Ok(Standing { epoch, last, is_settled })
    }

    async fn ask_news(connection: &mut MultiplexedConnection, after: u64) -> Result<Answered, RedisError> {
        let options = StreamReadOptions::default().count(PAGE).block(millis(NEWS_EVERY));
        // The epoch is asked behind the news: as it is then, it was while they were waited for.
        redis::pipe()
            .xread_options(&[FEED], &[format!("{after}-1")], &options)
            .hget(EPOCH, "epoch")
            .query_async(connection)
            .await
    }

    async fn ask_page(connection: &mut MultiplexedConnection, from: u64) -> Result<(u64, Vec<String>), RedisError> {
        redis::cmd("HSCAN").arg(BODIES).arg(from).arg("COUNT").arg(PAGE).query_async(connection).await
    }

    async fn tell_lines(
        connection: &mut MultiplexedConnection,
        script: &Script,
        lines: &[Line],
        writing_back: bool,
    ) -> Result<(), RedisError> {
        for lines in lines.chunks(MERGED_AT_ONCE) {
            let mut call = script.prepare_invoke();
            call.key(BODIES).key(ENDS).key(NUMBER).key(FEED).key(WRITING);
            call.arg(FEED_LENGTH).arg(if writing_back { millis(WRITING_FOR) } else { 0 });
            for line in lines {
                let micros = line.ends.micros();
                call.arg(line.id.to_string()).arg(micros.div_euclid(1000)).arg(micros).arg(line.body());
            }
            let () = call.invoke_async(connection).await?;
        }
        Ok(())
    }
}

type Answered = (Option<StreamReadReply>, Option<String>);

fn millis(duration: Duration) -> usize {
    usize::try_from(duration.as_millis()).unwrap_or(usize::MAX)
}

/// What the library says, and what the server said to it.
fn said(error: &RedisError) -> String {
    error.to_string()
}

/// A line from its name and its body in Redis: the end in microseconds, a blank, the entry.
fn line(id: &str, body: &str) -> Result<Written, Failure> {
    let (ends, entry) = body.split_once(' ').unwrap_or_default();
    let ends = ends.parse().map_err(|_| Failure(format!("the entry `{}` has no end", id.escape_debug())))?;
    Written::new(id, ends, entry.to_owned()).map_err(Failure)
}

fn news((reply, epoch): Answered) -> Result<News, Failure> {
    let mut lines = Vec::new();
    for change in reply.into_iter().flat_map(|reply| reply.keys).flat_map(|key| key.ids) {
        let number = change.id.split_once('-').and_then(|(number, _)| number.parse().ok());
        let number = number.ok_or_else(|| Failure("a change has no number".to_owned()))?;
        for (id, body) in &change.map {
            let body: String = redis::from_redis_value(body.clone()).map_err(|error| Failure(error.to_string()))?;
            lines.push((number, line(id, &body)?));
        }
    }
    Ok(News { epoch: epoch.unwrap_or_default(), lines })
}

impl Store for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn standing(&self) -> Answer<'_, Standing> {
        Box::pin(async {
            let mut connection = self.connection(&self.work).await?;
            Self::given_up(&self.work, Self::ask_standing(&mut connection, &self.standing).await).await
        })
    }

    fn news(&self, after: u64) -> Answer<'_, News> {
        Box::pin(async move {
            let mut connection = self.connection(&self.feed).await?;
            news(Self::given_up(&self.feed, Self::ask_news(&mut connection, after).await).await?)
        })
    }

    fn page(&self, from: Option<String>) -> Answer<'_, Page> {
        Box::pin(async move {
            let from = from.and_then(|from| from.parse().ok()).unwrap_or(0);
            let mut connection = self.connection(&self.work).await?;
            let (next, found) = Self::given_up(&self.work, Self::ask_page(&mut connection, from).await).await?;
            let lines = found.chunks_exact(2).filter_map(|pair| Some(line(pair.first()?, pair.last()?)));
            Ok(Page { lines: lines.collect::<Result<_, _>>()?, next: (next != 0).then(|| next.to_string()) })
        })
    }

    fn merge(&self, lines: Vec<Line>, writing_back: bool) -> Answer<'_, ()> {
        Box::pin(async move {
            let mut connection = self.connection(&self.work).await?;
            let told = Self::tell_lines(&mut connection, &self.merge, &lines, writing_back).await;
            Self::given_up(&self.work, told).await
        })
    }

    fn sweep(&self) -> Answer<'_, ()> {
        Box::pin(async {
            let mut connection = self.connection(&self.work).await?;
            loop {
                let mut call = self.sweep.prepare_invoke();
                call.key(BODIES).key(ENDS).arg(millis(KEEP)).arg(MERGED_AT_ONCE);
                let swept: usize = Self::given_up(&self.work, call.invoke_async(&mut connection).await).await?;
                if swept < MERGED_AT_ONCE {
                    return Ok(());
                }
            }
        })
    }
}
