//! A SQLite file: for gates without Redis. Several of one machine may share it.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{SqlSafeStr as _, SqlitePool};
use tokio::time::{sleep, timeout};

use super::{Answer, Failure, KEEP, NEWS_EVERY, News, PAGE, Page, Standing, Store, TIMEOUT};
use crate::clock::UnixTime;
use crate::revocations::entry::{Line, Written};

/// How often the file is looked at while news are waited for: another process tells nobody that it wrote.
const LOOK_EVERY: Duration = Duration::from_millis(125);

/// How long opening the file may take: after the process was killed, SQLite reads its log first.
const OPENS_IN: Duration = Duration::from_secs(30);

/// A SQLite file as a store.
#[derive(Debug)]
pub struct Sqlite {
    clock: fn() -> UnixTime,
    pool: SqlitePool,
    file: PathBuf,
    /// Which file it was when it was opened.
    identity: Identity,
}

/// The device of a file, and its number there.
type Identity = (u64, u64);

type Row = (String, i64, String);

impl Sqlite {
    /// Opens a file, or makes one that only its owner can read.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub async fn open(file: &Path, clock: fn() -> UnixTime) -> Result<Self, Failure> {
        let failed = |why: &dyn std::fmt::Display| {
            let remedy = "name a file of its own that the gate can write to, or none, at revocations.store.sqlite.file";
            Failure(format!("{} cannot be used for revocations: {why}; {remedy}", file.display()))
        };
        create(file).map_err(|error| failed(&error))?;
        // What was confirmed survives a loss of power.
        let options = SqliteConnectOptions::new()
            .filename(file)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(TIMEOUT);
        let pool = SqlitePoolOptions::new().max_connections(2).acquire_timeout(OPENS_IN).connect_with(options);
        let pool = pool.await.map_err(|error| failed(&error))?;
        let first = include_str!("sqlite.sql").into_sql_str();
        let first = Migration::new(1, "revocations".into(), MigrationType::Simple, first, false);
        Migrator::with_migrations(vec![first]).run(&pool).await.map_err(|error| failed(&error))?;
        let epoch = format!("{:032x}", fastrand::u128(..));
        let begun = sqlx::query(
            "INSERT INTO revocation_feed (epoch, last) SELECT $1, 0 WHERE NOT EXISTS (SELECT 1 FROM revocation_feed)",
        );
        begun.bind(epoch).execute(&pool).await.map_err(|error| failed(&error))?;
        let identity = fs::metadata(file).map(|there| (there.dev(), there.ino())).map_err(|error| failed(&error))?;
        Ok(Self { clock, pool, file: file.to_owned(), identity })
    }

    /// Whether the file is still the one that was opened: what is written to one that is gone is lost with this process, and what other
    /// processes write to another one is not heard of here.
    async fn is_there(&self) -> Result<(), Failure> {
        let there = tokio::fs::metadata(&self.file).await.ok().map(|there| (there.dev(), there.ino()));
        let gone = || Failure(format!("{} was removed or exchanged meanwhile: put it back", self.file.display()));
        (there == Some(self.identity)).then_some(()).ok_or_else(gone)
    }

    async fn ask_standing(&self) -> Result<Standing, Failure> {
        self.is_there().await?;
        let row = sqlx::query_as("SELECT epoch, last FROM revocation_feed");
        let (epoch, last): (String, i64) = row.fetch_one(&self.pool).await.map_err(said)?;
        Ok(Standing { epoch, last: number(last), is_settled: true })
    }

    async fn ask_news(&self, after: u64) -> Result<News, Failure> {
        self.is_there().await?;
        let pool = &self.pool;
        let epoch = sqlx::query_as("SELECT epoch FROM revocation_feed").fetch_optional(pool).await.map_err(said)?;
        let (epoch,): (String,) = epoch.unwrap_or_default();
        let rows = sqlx::query_as(
            "SELECT changed, id, ends, body FROM revocations WHERE changed > $1 ORDER BY changed LIMIT $2",
        );
        let rows: Vec<(i64, String, i64, String)> =
            rows.bind(signed(after)).bind(page_size()).fetch_all(pool).await.map_err(said)?;
        let lines = rows.into_iter().map(|(changed, id, ends, body)| Ok((number(changed), read(&id, ends, body)?)));
        Ok(News { epoch, lines: lines.collect::<Result<_, Failure>>()? })
    }

    async fn ask_page(&self, from: String) -> Result<Page, Failure> {
        let rows = sqlx::query_as("SELECT id, ends, body FROM revocations WHERE id > $1 ORDER BY id LIMIT $2");
        let rows: Vec<Row> = rows.bind(from).bind(page_size()).fetch_all(&self.pool).await.map_err(said)?;
        let next = rows.last().filter(|_| rows.len() == PAGE).map(|(id, ..)| id.clone());
        let lines = rows.into_iter().map(|(id, ends, body)| read(&id, ends, body)).collect::<Result<_, _>>()?;
        Ok(Page { lines, next })
    }

    async fn tell_lines(&self, lines: Vec<Line>) -> Result<(), Failure> {
        // The number is taken in the transaction that uses it: whoever reads the feed sees the numbers in the order of the changes.
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(said)?;
        let last = sqlx::query_as("SELECT last FROM revocation_feed").fetch_one(&mut *transaction).await;
        let (mut last,): (i64,) = last.map_err(said)?;
        for line in lines {
            let changed = last.saturating_add(1);
            let merge = sqlx::query(
                "INSERT INTO revocations (id, changed, ends, body) VALUES ($1, $2, $3, $4) ON CONFLICT (id) \
                 DO UPDATE SET changed = excluded.changed, body = '' WHERE excluded.body = '' AND revocations.body <> ''",
            );
            let merge = merge.bind(line.id.to_string()).bind(changed).bind(line.ends.micros()).bind(line.body());
            if merge.execute(&mut *transaction).await.map_err(said)?.rows_affected() > 0 {
                last = changed;
            }
        }
        let count = sqlx::query("UPDATE revocation_feed SET last = $1");
        count.bind(last).execute(&mut *transaction).await.map_err(said)?;
        transaction.commit().await.map_err(said)?;
        self.is_there().await
    }

    async fn forget(&self) -> Result<(), Failure> {
        let until = (self.clock)().before(KEEP);
        let past = sqlx::query("DELETE FROM revocations WHERE ends <= $1").bind(until.micros());
        past.execute(&self.pool).await.map_err(said)?;
        Ok(())
    }
}

/// Creates the file for its owner only; SQLite gives the files beside it the same rights.
fn create(file: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(_) | Err(_) => Ok(()),
    }
}

fn said(error: sqlx::Error) -> Failure {
    Failure(error.to_string())
}

/// Numbers of changes begin with 1 and never reach the end of either type.
fn number(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or(0)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn page_size() -> i64 {
    i64::try_from(PAGE).unwrap_or(i64::MAX)
}

fn read(id: &str, ends: i64, body: String) -> Result<Written, Failure> {
    Written::new(id, ends, body).map_err(Failure)
}

/// A disk that hangs must not hang whoever asks.
async fn bounded<T>(answer: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    // Behind the file's own bound, which says more.
    timeout(TIMEOUT.saturating_mul(2), answer).await.unwrap_or_else(|_| Err(Failure("the file does not answer".into())))
}

impl Store for Sqlite {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn standing(&self) -> Answer<'_, Standing> {
        Box::pin(bounded(self.ask_standing()))
    }

    fn news(&self, after: u64) -> Answer<'_, News> {
        Box::pin(async move {
            let news = bounded(self.ask_news(after)).await?;
            if !news.lines.is_empty() {
                return Ok(news);
            }
            let mut waited = Duration::ZERO;
            while waited < NEWS_EVERY {
                sleep(LOOK_EVERY).await;
                waited = waited.saturating_add(LOOK_EVERY);
                let news = bounded(self.ask_news(after)).await?;
                if !news.lines.is_empty() {
                    return Ok(news);
                }
            }
            Ok(news)
        })
    }

    fn page(&self, from: Option<String>) -> Answer<'_, Page> {
        Box::pin(bounded(self.ask_page(from.unwrap_or_default())))
    }

    fn merge(&self, lines: Vec<Line>, _: bool) -> Answer<'_, ()> {
        Box::pin(bounded(self.tell_lines(lines)))
    }

    fn sweep(&self) -> Answer<'_, ()> {
        Box::pin(bounded(self.forget()))
    }
}
