//! Is told by the operating system that files change. It is told of folders: where a file is replaced, a watch of the file itself would
//! go on watching the old one, and in Kubernetes only the link `..data` beside the files is replaced.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

use crate::config::Source;

/// The folders of some files.
#[derive(Debug)]
pub(super) struct Watch {
    files: BTreeSet<PathBuf>,
    folders: BTreeSet<PathBuf>,
    watcher: Option<RecommendedWatcher>,
    changed: Arc<Notify>,
}

impl Watch {
    /// Watches the files of `source`.
    pub(super) fn new(source: &Source) -> Self {
        let mut watch =
            Self { files: BTreeSet::new(), folders: BTreeSet::new(), watcher: None, changed: Arc::default() };
        watch.follow(source);
        watch
    }

    /// Watches the files of `source` as they are now, if these are others, or lie elsewhere since links lead elsewhere.
    pub(super) fn follow(&mut self, source: &Source) {
        let files: BTreeSet<PathBuf> = source.files().map(Path::to_owned).collect();
        let folders = files.iter().filter_map(|file| folder(file).canonicalize().ok()).collect();
        if self.files == files && self.folders == folders {
            return;
        }
        let names: BTreeSet<OsString> = files.iter().filter_map(|file| Some(file.file_name()?.to_owned())).collect();
        let changed = Arc::clone(&self.changed);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.map_or(true, |event| concerns(&event, &names)) {
                changed.notify_one();
            }
        });
        let watcher = watcher.and_then(|mut watcher| {
            folders.iter().try_for_each(|folder| watcher.watch(folder, RecursiveMode::NonRecursive))?;
            Ok(watcher)
        });
        if let Err(error) = &watcher {
            tracing::warn!(%error, "changes of files are not told by the system; they are looked at all the same");
        }
        // What happened between the two watches was told to neither.
        self.changed.notify_one();
        (self.files, self.folders, self.watcher) = (files, folders, watcher.ok());
    }

    /// Waits until something has changed.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}

fn folder(file: &Path) -> &Path {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    }
}

/// Whether files named `names` may hold something else now. What is written into other files of their folder, such as the audit log, is
/// none of our business, and neither is that we read.
fn concerns(event: &Event, names: &BTreeSet<OsString>) -> bool {
    match event.kind {
        EventKind::Create(_) | EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)) => true,
        EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Any)
        | EventKind::Access(AccessKind::Close(AccessMode::Write)) => {
            event.paths.iter().filter_map(|path| path.file_name()).any(|name| names.contains(name))
        }
        EventKind::Any | EventKind::Other => event.need_rescan(),
        EventKind::Access(_) | EventKind::Modify(_) => false,
    }
}
