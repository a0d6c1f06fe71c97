//! The operational log: JSON lines on standard error.

use tracing_subscriber::filter::LevelFilter;

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
    let log = tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .log_internal_errors(false);
    if log.try_init().is_err() {
        tracing::debug!("the operational log was started before");
    }
}
