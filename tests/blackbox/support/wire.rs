//! What is spoken between client, proxy and gate: TLS, as the shipped files say, or plain HTTP in both places.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use super::gate::PROGRAM;

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Tls,
    Plain,
}

tokio::task_local! {
    static WIRE: Wire;
}

impl Wire {
    /// What this test speaks.
    pub(crate) fn here() -> Self {
        WIRE.try_with(|wire| *wire).unwrap_or(Self::Tls)
    }

    /// Runs a test that speaks it.
    pub(crate) async fn speak<T>(self, test: impl Future<Output = T>) -> T {
        WIRE.scope(self, test).await
    }
}

/// `certificates/` as the shipped files name what is in it, made by the program itself: `gate`, `shop`, and `stranger`, which looks like
/// `gate` and is nobody's.
pub(crate) static CERTIFICATES: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("certificates");
    fs::create_dir_all(&folder).expect("a folder");
    let lock = File::create(folder.join("lock")).expect("a file");
    lock.lock().expect("a lock: another run of the tests may make them, too");
    let gate = &["127.0.0.1", "gate.localhost"][..];
    for (name, names) in [("gate", gate), ("stranger", gate), ("shop", &["shop.localhost"])] {
        let mut command = Command::new(PROGRAM);
        command.arg("certificate").arg("--dir").arg(folder.join(name));
        for name in names {
            command.args(["--name", name]);
        }
        let output = command.output().expect("the program runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    folder
});

/// Puts a copy of one of [`CERTIFICATES`] into a folder of its own name, or of another.
pub(crate) fn put_certificates(name: &str, folder: &Path) {
    fs::create_dir_all(folder).expect("a folder");
    for file in ["ca.crt", "tls.crt", "tls.key"] {
        fs::copy(CERTIFICATES.join(name).join(file), folder.join(file)).expect("copied");
    }
}
