//! The process as Linux sees it, under the names that every Prometheus client gives it. Where there is no /proc, there is none.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Unit;

use super::observed::{Families, NONE};
use crate::clock::UnixTime;

/// Clock ticks a second in /proc: `USER_HZ`, which is 100 on every architecture that this runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// This process.
#[derive(Debug)]
pub(super) struct Process {
    /// When it started.
    pub(super) started: UnixTime,
}

impl Collector for Process {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families(encoder);
        let mut gauge = |name: &str, help: &str, unit: Option<&Unit>, value: Option<u64>| match value {
            Some(value) => families.gauge(name, help, unit, [(NONE, value)]),
            None => Ok(()),
        };
        let started = u64::try_from(self.started.secs()).ok();
        gauge("process_start_time", "Start of the process since the Unix epoch.", Some(&Unit::Seconds), started)?;
        gauge("process_resident_memory", "Resident memory.", Some(&Unit::Bytes), resident_bytes())?;
        gauge("process_open_fds", "Open file descriptors.", None, open_files())?;
        gauge("process_max_fds", "Most file descriptors that may be open.", None, max_files())?;
        match cpu_seconds() {
            Some(cpu) => {
                let help = "CPU time spent, in the program and for it in the kernel.";
                families.counter("process_cpu", help, Some(&Unit::Seconds), [(NONE, cpu)])
            }
            None => Ok(()),
        }
    }
}

fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

fn cpu_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name in parentheses and may hold anything; utime and stime are the 14th and 15th.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS_PER_SECOND)
}

fn open_files() -> Option<u64> {
    u64::try_from(fs::read_dir("/proc/self/fd").ok()?.count()).ok()
}

fn max_files() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}
