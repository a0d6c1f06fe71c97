//! Keys that are fetched: one background task for each issuer. No decision waits for it beyond bounds, and the last good set serves on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::Url;

use super::{KeyStore, file};
use crate::provider::discovery::{METADATA_FOR, Place};
use crate::provider::fetch::{Fetched, Fetcher};
use crate::token::Algorithm;

/// The pauses between attempts that fail: from one second, twice as long each time, up to a minute.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// An issuer that says "keep this for less" is asked no oftener than this for it.
const SHORTEST_KEEP: Duration = Duration::from_secs(30);

/// An issuer whose keys are fetched.
#[derive(Debug)]
pub struct Refresher {
    /// The issuer's name, for the log.
    pub issuer: Box<str>,
    /// Its place among the issuers.
    pub index: usize,
    /// Where its keys are.
    pub place: Place,
    /// How it is asked.
    pub fetcher: Fetcher,
    /// The algorithms that it may use; empty: those of the keys.
    pub allowed: Vec<Algorithm>,
    /// How often it is asked at least.
    pub every: Duration,
    /// How long its last keys serve on without newer ones.
    pub max_stale: Duration,
}

/// What is remembered from one fetch to the next.
#[derive(Debug, Default)]
struct Memory {
    /// Where the metadata says that the keys are, and when it did.
    discovered: Option<(Url, Instant)>,
    /// The version of the keys that were found last, and where: elsewhere it says nothing.
    version: Option<(Url, String)>,
}

/// What a fetch has brought.
enum News {
    Keys(file::Loaded),
    Same,
}

impl Refresher {
    /// Fetches for ever: at once, every so often, sooner after a failure, and when a token names a key that is not there.
    pub async fn keep(self, store: Arc<KeyStore>) {
        let issuer = &*self.issuer;
        let mut memory = Memory::default();
        let mut failure = FIRST_PAUSE;
        loop {
            store.fetching(self.index);
            let fetched = self.fetch(&mut memory).await;
            let pause = match fetched {
                Ok((news, max_age)) => {
                    match news {
                        News::Same => store.confirmed(self.index),
                        News::Keys(loaded) => {
                            for why in &loaded.set_aside {
                                tracing::warn!(issuer, why, "a key was set aside");
                            }
                            tracing::info!(issuer, keys = loaded.keys.len(), "keys fetched");
                            store.fetched(self.index, loaded);
                        }
                    }
                    failure = FIRST_PAUSE;
                    self.kept(max_age)
                }
                Err(why) => {
                    memory = Memory::default();
                    let rest = store.failed(self.index, self.max_stale);
                    let now = rest.map_or("none serve", |_| "the last good ones serve on");
                    tracing::warn!(issuer, why, "keys cannot be fetched; {now}");
                    // The next attempt is no later than the end of the keys that serve: what fails then lets them go.
                    let pause = failure.min(rest.unwrap_or(failure));
                    failure = failure.saturating_mul(2).min(LONGEST_PAUSE);
                    pause
                }
            };
            tokio::select! {
                () = tokio::time::sleep(jittered(pause)) => {}
                () = store.wanted(self.index) => {}
            }
        }
    }

    /// Fetches once.
    ///
    /// # Errors
    /// Why there are no keys.
    pub async fn once(&self, store: &KeyStore) -> Result<(), String> {
        let (News::Keys(loaded), _) = self.fetch(&mut Memory::default()).await? else {
            return Err("the issuer says that nothing is new to somebody who has nothing".to_owned());
        };
        store.fetched(self.index, loaded);
        Ok(())
    }

    /// How long keys are kept for which their server says this.
    fn kept(&self, max_age: Option<Duration>) -> Duration {
        max_age.map_or(self.every, |age| age.clamp(SHORTEST_KEEP.min(self.every), self.every))
    }

    async fn fetch(&self, memory: &mut Memory) -> Result<(News, Option<Duration>), String> {
        let url = match &self.place {
            Place::Url(url) => url.clone(),
            Place::Discovered(discovery) => match memory.discovered.take_if(|(_, at)| at.elapsed() < METADATA_FOR) {
                Some((url, at)) => memory.discovered.insert((url, at)).0.clone(),
                None => {
                    let found = discovery.metadata(&self.fetcher).await?.url("jwks_uri", &self.fetcher)?;
                    memory.discovered.insert((found, Instant::now())).0.clone()
                }
            },
        };
        let version = memory.version.as_ref().filter(|(at, _)| *at == url).map(|(_, etag)| etag.as_str());
        match self.fetcher.get(&url, version).await.map_err(|why| format!("{url}: {why}"))? {
            Fetched::Same(max_age) => Ok((News::Same, max_age)),
            Fetched::Absent => Err(format!("{url}: there is nothing")),
            Fetched::New(fresh) => {
                let loaded = file::jwk_set(&fresh.body, &self.allowed).map_err(|why| format!("{url}: {why}"))?;
                memory.version = fresh.etag.map(|etag| (url, etag));
                Ok((News::Keys(loaded), fresh.max_age))
            }
        }
    }
}

/// Up to a tenth longer, so that replicas that started together do not ask together.
fn jittered(pause: Duration) -> Duration {
    pause.saturating_add(pause.mul_f64(fastrand::f64() / 10.0))
}

#[cfg(test)]
mod tests;
