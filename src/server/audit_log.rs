//! Writes audit lines in a thread of its own. A decision never waits for it: when the output is so
//! slow that the buffer is full, lines are dropped and counted.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Most bytes that wait to be written: about 15 000 lines, half a second at 30 000 decisions a
/// second. What stalls longer than that is broken, and memory is for decisions.
const MAX_PENDING_BYTES: usize = 4 * 1024 * 1024;

/// How long lines are gathered between two writes: one system call for many lines under load, and
/// still live to somebody who watches.
const GATHER: Duration = Duration::from_millis(10);

/// How long the end waits for the output: disks answer in milliseconds, and orchestrators kill after ten seconds or more.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The audit log.
#[derive(Debug)]
pub struct AuditLog {
    shared: Option<Arc<Shared>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    pending: Mutex<Pending>,
    more: Condvar,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Pending {
    lines: Vec<u8>,
    closed: bool,
}

impl Shared {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AuditLog {
    /// A log that writes nothing.
    #[must_use]
    pub fn off() -> Self {
        Self { shared: None, writer: Mutex::new(None) }
    }

    /// A log that writes to `output`.
    ///
    /// # Errors
    /// If no thread can be had.
    pub fn to(output: Box<dyn Write + Send>) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let writer = std::thread::Builder::new().name("audit".into()).spawn(move || write_out(&theirs, output))?;
        Ok(Self { shared: Some(shared), writer: Mutex::new(Some(writer)) })
    }

    /// Whether lines are wanted at all.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.shared.is_some()
    }

    /// Hands over one line, line feed included; never waits for the output.
    pub fn append(&self, line: &[u8]) {
        let Some(shared) = &self.shared else {
            return;
        };
        let mut pending = shared.pending();
        if pending.closed || pending.lines.len().saturating_add(line.len()) > MAX_PENDING_BYTES {
            drop(pending);
            shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let was_idle = pending.lines.is_empty();
        pending.lines.extend_from_slice(line);
        drop(pending);
        if was_idle {
            shared.more.notify_one();
        }
    }

    /// How many lines were dropped since the start.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.as_ref().map_or(0, |shared| shared.dropped.load(Ordering::Relaxed))
    }

    /// Writes out what is pending and ends the thread; but a stuck output does not keep the process: after two seconds what is
    /// left is dropped and counted, like every later line.
    pub fn close(&self) {
        let Some(shared) = &self.shared else {
            return;
        };
        shared.pending().closed = true;
        shared.more.notify_one();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(writer) = writer else { return };
        let started = Instant::now();
        while !writer.is_finished() {
            if started.elapsed() > LAST_WORDS {
                let lost = count_lines(&shared.pending().lines);
                shared.dropped.fetch_add(lost, Ordering::Relaxed);
                tracing::error!(lost, "the audit log's output is stuck; its last lines are lost");
                return;
            }
            std::thread::sleep(GATHER);
        }
        if writer.join().is_err() {
            tracing::error!("the audit log's thread had died");
        }
    }
}

fn count_lines(lines: &[u8]) -> u64 {
    lines.iter().filter(|byte| **byte == b'\n').fold(0, |count, _| count.saturating_add(1))
}

fn write_out(shared: &Shared, mut output: Box<dyn Write + Send>) {
    let mut lines = Vec::new();
    loop {
        let mut pending = shared.pending();
        while pending.lines.is_empty() && !pending.closed {
            pending = shared.more.wait(pending).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::swap(&mut pending.lines, &mut lines);
        let closed = pending.closed;
        drop(pending);
        if let Err(error) = output.write_all(&lines).and_then(|()| output.flush()) {
            let lost = count_lines(&lines);
            shared.dropped.fetch_add(lost, Ordering::Relaxed);
            tracing::error!(%error, lost, "audit lines could not be written");
        }
        lines.clear();
        if closed {
            return;
        }
        std::thread::sleep(GATHER);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// An output that reports each write and waits for leave to go on.
    struct Gated {
        written: mpsc::Sender<Vec<u8>>,
        leave: mpsc::Receiver<()>,
    }

    impl Write for Gated {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.written.send(bytes.to_vec()).expect("test listens");
            self.leave.recv().map_err(|_| io::Error::other("gone"))?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_line_is_written_before_close_returns() {
        let (written, lines) = mpsc::channel();
        let (leave, waits) = mpsc::channel();
        let log = AuditLog::to(Box::new(Gated { written, leave: waits })).expect("thread");
        log.append(b"one\n");
        assert_eq!(lines.recv().expect("first"), b"one\n");
        log.append(b"two\n");
        log.append(b"three\n");
        leave.send(()).expect("writer lives");
        leave.send(()).expect("writer lives");
        log.close();
        assert_eq!(lines.recv().expect("rest"), b"two\nthree\n");
        log.append(b"late\n");
        assert_eq!(log.dropped(), 1);
    }

    #[test]
    fn a_stuck_output_costs_lines_and_not_time() {
        let (written, lines) = mpsc::channel();
        let (leave, waits) = mpsc::channel();
        let log = AuditLog::to(Box::new(Gated { written, leave: waits })).expect("thread");
        log.append(b"x\n");
        lines.recv().expect("the writer is stuck now");
        let line = vec![b'y'; 1024];
        let fit = MAX_PENDING_BYTES / line.len();
        for _ in 0..fit + 10 {
            log.append(&line);
        }
        assert_eq!(log.dropped(), 10);
        // Still stuck: the end comes all the same. The lines here have no line feeds to be counted.
        let started = Instant::now();
        log.close();
        assert!((LAST_WORDS..LAST_WORDS.saturating_mul(3)).contains(&started.elapsed()));
        drop(leave);
    }
}
