//! `portcullis serve`.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::pin::pin;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use super::{Configured, EXIT_CONFIG, EXIT_FAILED, complain};
use crate::config::settings::{AuditFile, AuditTo};
use crate::config::{self, Loaded};
use crate::server::audit_log::AuditLog;
use crate::{server, telemetry};

/// Serves until SIGTERM or SIGINT; reads policy and keys again at SIGHUP.
#[must_use]
pub fn run(configured: &Configured) -> ExitCode {
    let loaded = match config::load(&configured.config, &configured.flags()) {
        Ok(loaded) => loaded,
        Err(report) => {
            complain(&report.to_string());
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    telemetry::start(loaded.settings.log.level);
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let beside = configured.config.parent().unwrap_or(Path::new(""));
    match actix_web::rt::System::new().block_on(serve(loaded, beside)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("portcullis: {error}"));
            ExitCode::from(EXIT_FAILED)
        }
    }
}

async fn serve(loaded: Loaded, beside: &Path) -> io::Result<()> {
    let audit = audit_log(&loaded.settings.audit, beside)?;
    // Before it is known that it listens: who hears that may send the signal, which otherwise ends a process.
    let mut reload = signal(SignalKind::hangup())?;
    let running = server::start(loaded, audit).await?;
    let mut stop = pin!(stop_signal());
    let signal = loop {
        tokio::select! {
            signal = &mut stop => break signal?,
            Some(()) = reload.recv() => running.reload(),
        }
    };
    tracing::info!(signal, "stopping");
    running.stop().await;
    tracing::info!("stopped");
    Ok(())
}

fn audit_log(settings: &AuditFile, beside: &Path) -> io::Result<AuditLog> {
    let output: Box<dyn Write + Send> = match (settings.to, &settings.file) {
        (AuditTo::Stdout, _) => Box::new(io::stdout()),
        (AuditTo::Stderr, _) => Box::new(io::stderr()),
        (AuditTo::File, Some(file)) => {
            let path = beside.join(file);
            let open = OpenOptions::new().create(true).append(true).open(&path);
            Box::new(open.map_err(|error| {
                io::Error::new(error.kind(), format!("the audit file {} cannot be opened: {error}", path.display()))
            })?)
        }
        (AuditTo::File, None) | (AuditTo::Off, _) => return Ok(AuditLog::off()),
    };
    AuditLog::to(output)
}

/// Waits for the signal that ends a service.
pub(super) async fn stop_signal() -> io::Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => Ok("SIGTERM"),
        _ = interrupt.recv() => Ok("SIGINT"),
    }
}
