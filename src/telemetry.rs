//! The operational log: JSON lines on standard error.

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::settings::LogLevel;

/// Starts the operational log. A second call changes nothing. When nobody reads standard error any more, the log is lost and
/// the gate goes on: by default the library would complain on standard error about standard error, and panic.
pub fn start(level: LogLevel) {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    // The HTTP library reports each request that it cannot parse as an error: whoever reaches the port could fill the disk.
    let parser = if level >= LevelFilter::DEBUG { level } else { LevelFilter::OFF };
    let filter = Targets::new().with_default(level).with_target("actix_http", parser);
    let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(std::io::stderr);
    let lines = lines.log_internal_errors(false).with_filter(filter);
    if tracing_subscriber::registry().with(lines).try_init().is_err() {
        tracing::debug!("the operational log was started before");
    }
}
