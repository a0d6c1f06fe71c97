//! Policy and keys are read again while the gate runs: all of a change is put in force, or nothing.

mod watch;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::config::{Loaded, Part, Report, Source};
use crate::gate::Gate;
use crate::keys::KeyStore;
use watch::Watch;

/// How often the files are looked at without being told: a network file system tells nothing, and neither does the target of a link
/// that lies elsewhere. To read a few small files for that takes a second or two of CPU a day.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// For so long files must stay the same before they are read: whoever writes into a file cuts it first, and half a policy may be a
/// good one that lets more people in. Editors and `cp` need less than a millisecond.
const SETTLED_AFTER: Duration = Duration::from_millis(20);

/// So often that is waited for at most, so that a file which changes all the time is not passed over.
const MOST_LOOKS: usize = 50;

/// How often each part was read again since the start, and with what result.
#[derive(Debug, Default)]
pub struct Reloads {
    ok: [AtomicU64; Part::ALL.len()],
    failed: [AtomicU64; Part::ALL.len()],
}

impl Reloads {
    /// How often a changed part was put in force, and how often it could not be.
    #[must_use]
    pub fn of(&self, part: Part) -> (u64, u64) {
        let read = |counts: &[AtomicU64]| counts.get(part as usize).map_or(0, |count| count.load(Ordering::Relaxed));
        (read(&self.ok), read(&self.failed))
    }

    fn count(counts: &[AtomicU64], parts: &BTreeSet<Part>) {
        for count in parts.iter().filter_map(|part| counts.get(*part as usize)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Reads again, and puts in force.
#[derive(Debug)]
pub(super) struct Reloader {
    /// Where everything came from that is in force.
    pub(super) source: Source,
    /// Whose policy is exchanged.
    pub(super) gate: Arc<Gate>,
    /// Where keys from files are exchanged.
    pub(super) keys: Arc<KeyStore>,
    /// What is counted.
    pub(super) reloads: Arc<Reloads>,
    /// Told when somebody wants it to be done now.
    pub(super) wanted: Arc<Notify>,
}

/// What came of reading again.
enum Again {
    Same,
    New(Box<Loaded>),
    Broken(BTreeSet<Part>, Report),
}

impl Reloader {
    /// Reads again for as long as the gate lives: when it is wanted, and with `watch` when files change.
    pub(super) async fn keep(mut self, watch: bool) {
        let mut watch = watch.then(|| Watch::new(&self.source));
        let mut complaint = None;
        loop {
            let wanted = match &watch {
                None => {
                    self.wanted.notified().await;
                    true
                }
                Some(watch) => tokio::select! {
                    () = self.wanted.notified() => true,
                    () = watch.changed() => {
                        // However much happens in a folder, that is no more than 50 looks a second.
                        tokio::time::sleep(SETTLED_AFTER).await;
                        false
                    }
                    () = tokio::time::sleep(LOOK_EVERY) => false,
                },
            };
            let source = self.source.clone();
            // Reading and compiling block: the other tasks of this thread go on meanwhile.
            match tokio::task::spawn_blocking(move || again(&source, wanted)).await {
                Ok(Again::Same) => complaint = None,
                Ok(Again::New(loaded)) => {
                    complaint = None;
                    self.put_in_force(*loaded);
                }
                Ok(Again::Broken(parts, report)) => {
                    let report = report.to_string();
                    if wanted || complaint.as_ref() != Some(&report) {
                        Reloads::count(&self.reloads.failed, &parts);
                        tracing::error!(report, "the configuration cannot be used as it is now; nothing changes");
                        complaint = Some(report);
                    }
                }
                Err(error) => tracing::error!(%error, "the configuration could not be read again; nothing changes"),
            }
            if let Some(watch) = &mut watch {
                watch.follow(&self.source);
            }
        }
    }

    fn put_in_force(&mut self, new: Loaded) {
        for warning in &new.warnings {
            tracing::warn!("{warning}");
        }
        let parts = self.source.differing(&new.source);
        let settings = self.source.settings_differing(&new.source);
        // An issuer whose settings are others now may be another issuer: its keys are not those of the one in force.
        let is_as_before = |issuer: usize| {
            let at = format!("issuers[{issuer}]");
            !settings
                .iter()
                .any(|path| path.strip_prefix(&*at).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
                && !settings.iter().any(|path| path == "issuers")
        };
        // Keys first: whoever decides by the new policy knows the new keys.
        for issuer in (0..self.gate.authenticator().issuers().count()).filter(|issuer| is_as_before(*issuer)) {
            self.keys.take(issuer, &new.keys);
        }
        // The new policy was written for the issuers of the new settings, whose roles may stand in other claims: by the old mapping it
        // could let somebody in whom nobody means.
        let fits = !settings.iter().any(|path| path.starts_with("issuers"));
        if fits {
            self.gate.exchange(new.gate);
        }
        if parts.contains(&Part::Settings) && !settings.is_empty() {
            let settings = settings.join(", ");
            tracing::warn!(
                settings,
                policy = if fits { "as in its file" } else { "as before: it waits for the issuers" },
                "these settings have changed and need a restart; until then the old ones are in force"
            );
        }
        // What waits is not in force.
        let parts: BTreeSet<Part> = parts.into_iter().filter(|part| fits || *part != Part::Policy).collect();
        let version = &*self.gate.in_force().version;
        let changed = parts.iter().map(|part| part.name()).collect::<Vec<_>>().join(", ");
        tracing::info!(changed, policy = version, rules = new.rules, "configuration read again");
        Reloads::count(&self.reloads.ok, &parts);
        self.source.has_read(new.source);
    }
}

/// Reads a configuration again, if it is `wanted` or something has changed; then as soon as nobody seems to be writing any more.
fn again(source: &Source, wanted: bool) -> Again {
    let mut look = source.look();
    if !wanted {
        if source.changed(&look).is_empty() {
            return Again::Same;
        }
        for _ in 0..MOST_LOOKS {
            std::thread::sleep(SETTLED_AFTER);
            let before = std::mem::replace(&mut look, source.look());
            if before == look {
                break;
            }
        }
    }
    match source.load() {
        Ok(loaded) => Again::New(Box::new(loaded)),
        Err(report) => {
            let changed = source.changed(&look);
            // Wanted, and broken by a file that is read at the start only.
            Again::Broken(if changed.is_empty() { [Part::Settings].into() } else { changed }, report)
        }
    }
}
