//! Redis, shared by every replica: a hash with the lines, a sorted set with their ends, and a stream of changes.
//!
//! Its keys carry one hash tag, so that they stand together in a cluster, too. Redis may lose everything: then whoever holds
//! lines writes them back, see [`crate::revocations::Register`].

use std::time::Duration;

use deadpool_redis::redis::streams::{StreamReadOptions, StreamReadReply};
use deadpool_redis::redis::{self, RedisError, Script};
use tokio::sync::Mutex;

use super::{Answer, Failure, KEEP, NEWS_EVERY, News, PAGE, Page, Standing, Store};
use crate::redis::{self as server, Link};
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

/// How long after one page of a write-back the next is still expected: each takes at most [`super::TIMEOUT`].
const WRITING_FOR: Duration = Duration::from_secs(2);

/// How many lines one script merges: Redis serves nobody else meanwhile, for about a millisecond.
const MERGED_AT_ONCE: usize = 100;

/// Redis as a store.
#[derive(Debug)]
pub struct Redis {
    server: server::Redis,
    /// Waits for news: nothing else can be asked on it meanwhile.
    feed: Mutex<Option<Link>>,
    /// For everything else.
    work: Mutex<Option<Link>>,
    standing: Script,
    merge: Script,
    sweep: Script,
}

impl Redis {
    /// Keeps revocations in `server`.
    #[must_use]
    pub fn new(server: server::Redis) -> Self {
        Self {
            server,
            feed: Mutex::new(None),
            work: Mutex::new(None),
            standing: Script::new(include_str!("standing.lua")),
            merge: Script::new(include_str!("merge.lua")),
            sweep: Script::new(include_str!("sweep.lua")),
        }
    }

    /// A connection of its own for `place`, kept there for as long as it works.
    async fn connection(&self, place: &Mutex<Option<Link>>) -> Result<Link, Failure> {
        let mut place = place.lock().await;
        if let Some(link) = &*place {
            return Ok(link.clone());
        }
        let link = self.server.connect().await?;
        *place = Some(link.clone());
        Ok(link)
    }

    /// After a failure the connection is given up: what it still answers belongs to questions that nobody waits for.
    async fn given_up<T>(place: &Mutex<Option<Link>>, answer: Result<T, RedisError>) -> Result<T, Failure> {
        if answer.is_err() {
            *place.lock().await = None;
        }
        answer.map_err(|error| server::Failure::from(error).into())
    }

    async fn ask_standing(connection: &mut Link, script: &Script) -> Result<Standing, RedisError> {
        let mut call = script.prepare_invoke();
        call.key(EPOCH).key(NUMBER).key(WRITING).key(BODIES).key(ENDS);
        call.arg(format!("{:032x}", fastrand::u128(..))).arg(millis(SETTLES_IN));
        let (epoch, last, is_settled): (String, u64, bool) = call.invoke_async(connection).await?;
        Ok(Standing { epoch, last, is_settled })
    }

    async fn ask_news(connection: &mut Link, after: u64) -> Result<Answered, RedisError> {
        let options = StreamReadOptions::default().count(PAGE).block(millis(NEWS_EVERY));
        // The epoch is asked behind the news: as it is then, it was while they were waited for.
        redis::pipe()
            .xread_options(&[FEED], &[format!("{after}-1")], &options)
            .hget(EPOCH, "epoch")
            .query_async(connection)
            .await
    }

    async fn ask_page(connection: &mut Link, from: u64) -> Result<(u64, Vec<String>), RedisError> {
        redis::cmd("HSCAN").arg(BODIES).arg(from).arg("COUNT").arg(PAGE).query_async(connection).await
    }

    async fn tell_lines(
        connection: &mut Link,
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
