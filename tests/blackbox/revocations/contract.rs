//! What every store promises, asked of each.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis::clock::UnixTime;
use portcullis::redis;
use portcullis::revocations::store::memory::Memory;
use portcullis::revocations::store::redis::Redis;
use portcullis::revocations::store::sqlite::Sqlite;
use portcullis::revocations::store::{KEEP, PAGE, Standing, Store, TIMEOUT};
use portcullis::revocations::{Entry, Line, What};
use tempfile::TempDir;

use crate::support::redis::several::{Cluster, Sentinel};
use crate::support::redis::{Server, authority};

const NOW: UnixTime = UnixTime::from_secs(4_000_000_000);

fn now() -> UnixTime {
    NOW
}

fn line(number: u32, ends: UnixTime) -> Line {
    let what = What::Subject { issued_before: UnixTime::from_micros(number.into()) };
    let entry = Entry { what, issuer: "https://a".into(), value: format!("s {number}").into(), reason: None };
    Line { id: format!("{number:032x}").parse().expect("a name"), ends, entry: Some(entry) }
}

fn lasting(number: u32) -> Line {
    line(number, NOW.after(Duration::from_secs(3600)))
}

fn removal(line: &Line) -> Line {
    Line { entry: None, ..line.clone() }
}

async fn all(store: &dyn Store) -> Vec<Line> {
    let (mut lines, mut from): (Vec<Line>, _) = (Vec::new(), None);
    loop {
        let page = store.page(from).await.expect("a page");
        lines.extend(page.lines.iter().map(|line| line.read().expect("an entry")));
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    lines.sort_by_key(|line| line.id);
    lines.dedup();
    lines
}

/// What is kept is given back; an entry becomes its removal and never the other way; each change comes once, in order, by number.
async fn keeps(store: &dyn Store) {
    assert!(all(store).await.is_empty());
    let start = store.standing().await.expect("its standing");
    let quiet = store.news(start.last).await.expect("no news");
    assert_eq!((quiet.lines.len(), &quiet.epoch), (0, &start.epoch));
    store.merge(vec![lasting(1), lasting(2), lasting(1)], false).await.expect("kept");
    store.merge(vec![removal(&lasting(2)), lasting(2), removal(&lasting(3)), lasting(3)], true).await.expect("kept");
    let wanted = [lasting(1), removal(&lasting(2)), removal(&lasting(3))];
    assert_eq!(all(store).await, wanted);

    let mut at = start.last;
    let mut seen = BTreeMap::new();
    loop {
        let news = store.news(at).await.expect("news");
        if news.lines.is_empty() {
            break;
        }
        for (number, line) in news.lines {
            // A store may tell an older change by what became of it, but leave out none that still counts.
            assert!(number > at);
            at = number;
            seen.insert(line.id, line.read().expect("an entry"));
        }
    }
    assert_eq!(seen.into_values().collect::<Vec<_>>(), wanted);
    assert_eq!(store.standing().await.expect("its standing"), Standing { last: at, ..start });
}

/// A change that comes while news are waited for is told within a second.
async fn tells(store: Arc<dyn Store>) {
    let at = store.standing().await.expect("its standing").last;
    let (waiting, asked) = (Arc::clone(&store), Instant::now());
    let news = tokio::spawn(async move {
        loop {
            let news = waiting.news(at).await.expect("news");
            if !news.lines.is_empty() {
                return news.lines;
            }
        }
    });
    store.merge(vec![lasting(100)], false).await.expect("kept");
    assert_eq!(news.await.expect("no panic"), [(at + 1, lasting(100).written())]);
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
}

/// More than fits into a page, and into a page of news, comes whole.
async fn pages(store: &dyn Store) {
    let many: Vec<Line> = (1_000..4_500).map(lasting).collect();
    let before = (store.standing().await.expect("its standing").last, all(store).await.len());
    for lines in many.chunks(PAGE) {
        store.merge(lines.to_vec(), true).await.expect("kept");
    }
    assert_eq!(all(store).await.len(), before.1 + many.len());
    let news = store.news(before.0).await.expect("news").lines;
    assert_eq!(news.len(), PAGE);
    assert!(news.iter().map(|(number, _)| *number).eq(before.0 + 1..=before.0 + PAGE as u64));
}

/// What has ended is kept a little longer, then forgotten; a number is never given twice.
async fn forgets(store: &dyn Store, now: UnixTime) {
    let last = store.standing().await.expect("its standing").last;
    let (past, recent) = (line(5_000, now.before(KEEP * 2)), line(5_001, now));
    store.merge(vec![recent.clone(), past.clone()], false).await.expect("kept");
    store.sweep().await.expect("swept");
    let left = all(store).await;
    assert!(left.contains(&recent) && !left.contains(&past));
    store.merge(vec![lasting(5_002)], false).await.expect("kept");
    assert_eq!(store.standing().await.expect("its standing").last, last + 3);
}

async fn holds(store: Arc<dyn Store>, now: UnixTime) {
    keeps(&*store).await;
    tells(Arc::clone(&store)).await;
    pages(&*store).await;
    forgets(&*store, now).await;
}

#[tokio::test]
async fn memory_holds_it() {
    holds(Arc::new(Memory::new(now)), NOW).await;
}

#[tokio::test]
async fn sqlite_holds_it_and_a_second_process_and_the_next_one_see_the_same() {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("revocations.db");
    let store = Arc::new(Sqlite::open(&file, now).await.expect("a file"));
    holds(Arc::clone(&store) as Arc<dyn Store>, NOW).await;
    let other = Sqlite::open(&file, now).await.expect("the same file");
    assert_eq!(other.standing().await, store.standing().await);
    assert_eq!(all(&other).await, all(&*store).await);
    for entry in std::fs::read_dir(folder.path()).expect("a folder") {
        let entry = entry.expect("an entry");
        assert_eq!(entry.metadata().expect("its rights").permissions().mode() & 0o777, 0o600, "{entry:?}");
    }
    let (kept, standing) = (all(&*store).await, store.standing().await);
    drop((store, other));
    let next = Sqlite::open(&file, now).await.expect("the same file");
    assert_eq!((all(&next).await, next.standing().await), (kept, standing));
}

/// The store in the Redis at this URL.
fn at(url: &str) -> Redis {
    Redis::new(redis::Redis::new(&url.into(), None, TIMEOUT).expect("a Redis"))
}

/// The same, guarded.
fn guarded(url: &str) -> Redis {
    let ca = Some(authority().into_bytes());
    Redis::new(redis::Redis::new(&url.into(), ca, TIMEOUT).expect("a Redis"))
}

#[tokio::test]
async fn redis_holds_it() {
    let server = Server::start().await;
    let store = Arc::new(at(&server.url()));
    // What has ended is told by its own clock.
    holds(store, UnixTime::from_secs(crate::support::gate::now())).await;
}

#[tokio::test]
async fn a_cluster_holds_it() {
    let cluster = Cluster::start_guarded().await;
    holds(Arc::new(guarded(&cluster.url("gate:secret@"))), UnixTime::from_secs(crate::support::gate::now())).await;
}

#[tokio::test]
async fn servers_behind_sentinels_hold_it() {
    let sentinel = Sentinel::start_guarded().await;
    let url = sentinel.url("gate:secret@", "&sentinel_user=gate&sentinel_password=watch");
    holds(Arc::new(guarded(&url)), UnixTime::from_secs(crate::support::gate::now())).await;
}
