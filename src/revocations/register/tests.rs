use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64};

use super::super::entry::What;
use super::super::live::{Filter, WhenStale};
use super::super::store::memory::Memory;
use super::super::store::{Answer, News, Page, Standing};
use super::*;
use crate::gate::Revocations as _;
use crate::gate::ports::Marks;
use crate::policy::Reason;

/// What time it is in these tests: it runs with the runtime's paused clock.
fn clock() -> UnixTime {
    static STARTED: std::sync::OnceLock<tokio::time::Instant> = std::sync::OnceLock::new();
    let since = tokio::time::Instant::now().saturating_duration_since(*STARTED.get_or_init(tokio::time::Instant::now));
    UnixTime::from_secs(1_000_000).after(since)
}

/// A store that can be taken away, exchanged for another one, and asked how often it was compared.
#[derive(Debug, Default)]
struct Shaky {
    there: Mutex<Option<Arc<Memory>>>,
    epoch: AtomicU64,
    unsettled: AtomicBool,
    /// Changes that the feed leaves out.
    lost: AtomicI64,
    compared: AtomicU64,
}

impl Shaky {
    fn new() -> Arc<Self> {
        let shaky = Self::default();
        shaky.comes_back_empty();
        Arc::new(shaky)
    }

    fn comes_back_empty(&self) {
        self.epoch.fetch_add(1, Ordering::Relaxed);
        *self.there.lock().expect("no panic") = Some(Arc::new(Memory::new(clock)));
    }

    fn is_gone(&self) {
        *self.there.lock().expect("no panic") = None;
    }

    fn memory(&self) -> Result<Arc<Memory>, Failure> {
        self.there.lock().expect("no panic").clone().ok_or_else(|| Failure("gone".to_owned()))
    }

    fn epoch(&self) -> String {
        self.epoch.load(Ordering::Relaxed).to_string()
    }
}

impl Store for Arc<Shaky> {
    fn name(&self) -> &'static str {
        "shaky"
    }

    fn standing(&self) -> Answer<'_, Standing> {
        Box::pin(async {
            let standing = self.memory()?.standing().await?;
            let is_settled = !self.unsettled.load(Ordering::Relaxed);
            Ok(Standing { epoch: self.epoch(), is_settled, ..standing })
        })
    }

    fn news(&self, after: u64) -> Answer<'_, News> {
        Box::pin(async move {
            let mut news = self.memory()?.news(after).await?;
            self.memory()?;
            for _ in 0..self.lost.swap(0, Ordering::Relaxed).min(i64::try_from(news.lines.len()).expect("few")) {
                news.lines.remove(0);
            }
            Ok(News { epoch: self.epoch(), ..news })
        })
    }

    fn page(&self, from: Option<String>) -> Answer<'_, Page> {
        Box::pin(async move {
            self.compared.fetch_add(1, Ordering::Relaxed);
            self.memory()?.page(from).await
        })
    }

    fn merge(&self, lines: Vec<Line>, writing_back: bool) -> Answer<'_, ()> {
        Box::pin(async move { self.memory()?.merge(lines, writing_back).await })
    }

    fn sweep(&self) -> Answer<'_, ()> {
        Box::pin(async move { self.memory()?.sweep().await })
    }
}

/// The way of one replica to the store, which can be cut.
#[derive(Debug, Default)]
struct Way {
    store: Arc<Shaky>,
    is_cut: AtomicBool,
}

impl Way {
    fn open(&self) -> Result<&Arc<Shaky>, Failure> {
        if self.is_cut.load(Ordering::Relaxed) { Err(Failure("cut off".to_owned())) } else { Ok(&self.store) }
    }
}

impl Store for Arc<Way> {
    fn name(&self) -> &'static str {
        "way"
    }

    fn standing(&self) -> Answer<'_, Standing> {
        Box::pin(async { self.open()?.standing().await })
    }

    fn news(&self, after: u64) -> Answer<'_, News> {
        Box::pin(async move {
            let news = self.open()?.news(after).await?;
            self.open().map(|_| news)
        })
    }

    fn page(&self, from: Option<String>) -> Answer<'_, Page> {
        Box::pin(async move { self.open()?.page(from).await })
    }

    fn merge(&self, lines: Vec<Line>, writing_back: bool) -> Answer<'_, ()> {
        Box::pin(async move { self.open()?.merge(lines, writing_back).await })
    }

    fn sweep(&self) -> Answer<'_, ()> {
        Box::pin(async move { self.open()?.sweep().await })
    }
}

fn register(store: impl Store + 'static, max_entries: usize) -> Arc<Register> {
    let live = Arc::new(Live::new(Duration::from_secs(5), WhenStale::Refuse, [5; 16]));
    Arc::new(Register::new(live, Box::new(store), clock, Duration::from_secs(60), max_entries))
}

fn kept<S>(store: &Arc<S>) -> Arc<Register>
where
    Arc<S>: Store + 'static,
{
    let register = register(Arc::clone(store), 10_000);
    tokio::spawn(Arc::clone(&register).keep());
    register
}

fn entry(jti: &str) -> Entry {
    Entry { what: What::Token, issuer: "https://a".into(), value: jti.into(), reason: None }
}

async fn revoke(register: &Register, jti: &str) -> Line {
    register.revoke(entry(jti), clock().after(Duration::from_secs(3600))).await.expect("stored")
}

fn has(register: &Register, jti: &str) -> bool {
    !register.live().list(&Filter { issuer: None, value: Some(("jti", jti)) }, Id::FIRST, 1).is_empty()
}

fn is_fresh(register: &Register) -> bool {
    let nobody = Marks { names: [None; 3], issued: clock() };
    register.live().check(&nobody, clock()) != Err(Reason::RevocationsStale)
}

/// Waits for what must come within `bound`.
async fn within(bound: Duration, what: &str, condition: impl Fn() -> bool) {
    let started = tokio::time::Instant::now();
    while !condition() {
        assert!(started.elapsed() < bound, "{what}: not within {bound:?}");
        sleep(Duration::from_millis(10)).await;
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn what_one_revokes_or_takes_back_the_other_knows_within_a_second() {
    let store = Shaky::new();
    let (one, other) = (kept(&store), kept(&store));
    within(SECOND, "loaded", || one.has_loaded() && other.has_loaded() && is_fresh(&one) && is_fresh(&other)).await;
    let line = revoke(&one, "t").await;
    assert!(has(&one, "t"), "at once where it was asked for");
    within(SECOND, "revoked", || has(&other, "t")).await;
    assert_eq!(other.restore(line.id).await, Ok(true));
    assert!(!has(&other, "t"));
    within(SECOND, "taken back", || !has(&one, "t")).await;
    assert_eq!((one.restore(line.id).await, other.restore(Id::FIRST).await), (Ok(false), Ok(false)));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_gone_makes_the_set_stale_and_confirms_nothing() {
    let store = Shaky::new();
    let one = kept(&store);
    within(SECOND, "loaded", || one.has_loaded() && is_fresh(&one)).await;
    let gone = store.memory();
    store.is_gone();
    let refused = one.revoke(entry("t"), clock().after(SECOND)).await;
    assert!(matches!(refused, Err(Refused::Store(_))) && !has(&one, "t"));
    sleep(Duration::from_secs(4)).await;
    assert!(is_fresh(&one), "not older than it may be");
    sleep(Duration::from_secs(2)).await;
    assert!(!is_fresh(&one) && one.failures() > 3 && one.has_loaded());
    *store.there.lock().expect("no panic") = gone.ok();
    within(Duration::from_secs(3), "fresh again", || is_fresh(&one)).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_lost_its_data_gets_it_back_and_who_starts_meanwhile_waits() {
    let store = Shaky::new();
    let (one, other) = (kept(&store), kept(&store));
    within(SECOND, "loaded", || one.has_loaded() && other.has_loaded()).await;
    // More than a page.
    for number in 0..2_500 {
        revoke(&one, &format!("t{number}")).await;
    }
    let back = revoke(&one, "taken back").await;
    assert_eq!(one.restore(back.id).await, Ok(true));
    within(SECOND, "known", || other.live().len() == 2_500).await;

    store.is_gone();
    sleep(Duration::from_secs(10)).await;
    store.unsettled.store(true, Ordering::Relaxed);
    store.comes_back_empty();
    let late = kept(&store);
    within(Duration::from_secs(4), "everything is there", || late.live().len() == 2_500).await;
    sleep(Duration::from_secs(4)).await;
    assert!(!late.has_loaded() && !is_fresh(&late), "there could be more to come");
    assert!(!is_fresh(&one) && !is_fresh(&other), "nor does either know that it was not cut off alone");
    store.unsettled.store(false, Ordering::Relaxed);
    within(Duration::from_secs(2), "ready", || late.has_loaded() && is_fresh(&late)).await;
    within(Duration::from_secs(2), "fresh again", || is_fresh(&one) && is_fresh(&other)).await;
    assert!(has(&late, "t0") && has(&late, "t2499") && !has(&late, "taken back"));
    // The removal is not forgotten either: nobody brings the entry back.
    assert_eq!(late.live().line(back.id).map(|line| line.entry), Some(None));
}

#[tokio::test(start_paused = true)]
async fn who_held_everything_until_the_data_was_lost_goes_on_at_once() {
    let store = Shaky::new();
    let one = kept(&store);
    within(SECOND, "loaded", || one.has_loaded() && is_fresh(&one)).await;
    revoke(&one, "t").await;
    store.unsettled.store(true, Ordering::Relaxed);
    store.comes_back_empty();
    for _ in 0..100 {
        assert!(is_fresh(&one));
        sleep(Duration::from_millis(100)).await;
    }
    let late = kept(&store);
    within(SECOND, "written back", || has(&late, "t")).await;
}

/// One is cut off, the other revokes, and the store comes back empty: the first must not take what it remembers for everything.
#[tokio::test(start_paused = true)]
async fn who_was_cut_off_when_the_data_was_lost_waits_for_the_others() {
    let store = Shaky::new();
    let ways = [(); 2].map(|()| Arc::new(Way { store: Arc::clone(&store), is_cut: AtomicBool::new(false) }));
    let (one, other) = (kept(&ways[0]), kept(&ways[1]));
    within(SECOND, "loaded", || is_fresh(&one) && is_fresh(&other)).await;
    ways[0].is_cut.store(true, Ordering::Relaxed);
    sleep(Duration::from_secs(3)).await;
    revoke(&other, "t").await;
    // The other is away for longer than its own knowledge serves.
    ways[1].is_cut.store(true, Ordering::Relaxed);
    store.unsettled.store(true, Ordering::Relaxed);
    store.comes_back_empty();
    sleep(Duration::from_secs(3)).await;
    assert!(!is_fresh(&one));
    ways[0].is_cut.store(false, Ordering::Relaxed);
    for _ in 0..40 {
        sleep(Duration::from_millis(100)).await;
        assert!(!is_fresh(&one), "it does not know of `t`");
    }
    ways[1].is_cut.store(false, Ordering::Relaxed);
    within(Duration::from_secs(2), "written back", || has(&one, "t")).await;
    store.unsettled.store(false, Ordering::Relaxed);
    within(Duration::from_secs(2), "fresh again", || is_fresh(&one) && is_fresh(&other)).await;
}

#[tokio::test(start_paused = true)]
async fn a_gap_in_the_feed_makes_the_whole_be_compared_at_once() {
    let store = Shaky::new();
    let (one, other) = (kept(&store), kept(&store));
    within(SECOND, "loaded", || one.has_loaded() && other.has_loaded() && is_fresh(&other)).await;
    let compared = store.compared.load(Ordering::Relaxed);
    store.lost.store(1, Ordering::Relaxed);
    // Both change in one moment, and whoever reads first misses the first of them.
    let (a, b) = tokio::join!(revoke(&one, "a"), revoke(&one, "b"));
    assert_ne!(a.id, b.id);
    within(SECOND, "both", || has(&other, "a") && has(&other, "b")).await;
    within(SECOND, "fresh", || is_fresh(&one) && is_fresh(&other)).await;
    assert!(store.compared.load(Ordering::Relaxed) > compared, "without waiting for the next interval");
}

#[tokio::test(start_paused = true)]
async fn everything_is_compared_at_intervals() {
    let store = Shaky::new();
    let one = kept(&store);
    within(SECOND, "loaded", || one.has_loaded()).await;
    let compared = store.compared.load(Ordering::Relaxed);
    sleep(Duration::from_secs(70)).await;
    assert_eq!(store.compared.load(Ordering::Relaxed), compared + 1);
}

#[tokio::test(start_paused = true)]
async fn a_full_register_refuses_and_drops_nothing() {
    let store = Shaky::new();
    let one = register(store, 2);
    revoke(&one, "a").await;
    revoke(&one, "b").await;
    assert_eq!(one.revoke(entry("c"), clock().after(SECOND)).await, Err(Refused::Full));
    assert!(has(&one, "a") && has(&one, "b") && !has(&one, "c"));
    // Room that is made again and again ends, too: what was taken back is remembered.
    for jti in ["a", "b"] {
        let line = one.live().list(&Filter { issuer: None, value: Some(("jti", jti)) }, Id::FIRST, 1).remove(0);
        assert_eq!(one.restore(line.id).await, Ok(true));
    }
    assert_eq!(one.revoke(entry("c"), clock().after(SECOND)).await, Err(Refused::Full));
}
