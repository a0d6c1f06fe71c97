//! L4: the listeners, and the wiring behind them.

pub mod admin;
pub mod audit_log;
pub mod clock;
pub mod decisions;
pub mod lifecycle;
pub mod metrics;
pub mod public;
pub mod reload;
pub mod request_id;
pub mod span;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::http::KeepAlive;
use actix_web::{App, HttpServer, web};
use tokio::sync::Notify;
use tracing_actix_web::TracingLogger;

use crate::config::Loaded;
use crate::gate::Gate;
use crate::limits::Limits;
use crate::tls::Certificate;
use admin::bearer::Bearer;
use audit_log::AuditLog;
use decisions::{Decisions, Headers};
use lifecycle::Lifecycle;
use metrics::{Metrics, Observed};
use reload::{Reloader, Reloads};
use span::Span;

/// How many connections may wait to be accepted: Traefik opens one per parallel check beyond two.
const BACKLOG: u32 = 4096;

/// How long a peer may take to send the head of its request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a peer may take to agree on keys. Between a proxy and its gate that is milliseconds, and the proxies of the shipped files
/// wait no longer than a second.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);

/// How many handshakes may be under way in one thread; the next peer waits. Whoever reaches the port can begin one without being a trusted
/// proxy, say nothing more, and so take one for [`HANDSHAKE_TIMEOUT`]: with the library's 256 for 3 s, a hundred connections a second
/// kept every proxy out. One takes about 12 KiB, so that all together stay below 48 MiB.
const HANDSHAKES: usize = 4096;

/// A gate that listens.
#[derive(Debug)]
pub struct Running {
    /// Where decisions are asked for.
    pub decisions: SocketAddr,
    /// Where operators look.
    pub admin: SocketAddr,
    /// What browsers reach, if it is configured.
    pub public: Option<SocketAddr>,
    servers: Vec<ServerHandle>,
    lifecycle: Arc<Lifecycle>,
    audit: Arc<AuditLog>,
    reload: Arc<Notify>,
    limits: Arc<Limits>,
    not_ready_for: Duration,
}

impl Running {
    /// Has policy and keys read again now, whether they seem to have changed or not.
    pub fn reload(&self) {
        self.reload.notify_one();
    }

    /// Ends it: not ready, still answering for a while, then no new connections, running requests
    /// to their end, the audit log to its last line.
    pub async fn stop(self) {
        self.lifecycle.drain();
        tokio::time::sleep(self.not_ready_for).await;
        for server in &self.servers {
            server.stop(true).await;
        }
        if let Some(shared) = self.limits.shared() {
            shared.leave().await;
        }
        self.audit.close();
    }
}

/// Starts the listeners. The audit line goes to `audit`.
///
/// # Errors
/// If an address cannot be bound.
pub async fn start(loaded: Loaded, audit: AuditLog) -> io::Result<Running> {
    let Loaded { gate, trusted_proxies, settings, certificates, keys, sources, introspectors, source, .. } = loaded;
    let (revocations, admin_token, limits) = (loaded.revocations, loaded.admin_token, loaded.limits);
    let gate: Arc<Gate> = Arc::new(gate);
    let register = match revocations {
        None => None,
        Some(setup) => Some(Arc::new(setup.register(clock::now).await.map_err(io::Error::other)?)),
    };
    if let Some(shared) = limits.shared() {
        shared.begin().await;
        actix_web::rt::spawn(Arc::clone(shared).keep());
    }
    let lifecycle = Arc::new(Lifecycle::default());
    let audit = Arc::new(audit);
    let reloads = Arc::new(Reloads::default());
    let metrics = Arc::new(Metrics::new(Observed {
        gate: Arc::clone(&gate),
        lifecycle: Arc::clone(&lifecycle),
        audit: Arc::clone(&audit),
        keys: Arc::clone(&keys),
        introspectors,
        register: register.clone(),
        limits: Arc::clone(&limits),
        reloads: Arc::clone(&reloads),
    }));
    let drain = settings.shutdown.drain.0;

    let listener = &settings.listeners.decisions;
    let service = Arc::new(Decisions {
        gate: Arc::clone(&gate),
        trusted_proxies,
        deadline: listener.deadline.0,
        lifecycle: Arc::clone(&lifecycle),
        metrics: Arc::clone(&metrics),
        audit: Arc::clone(&audit),
        records_principal: settings.audit.principal,
        headers: Headers::of(&gate.in_force().policy),
    });
    let mut server = HttpServer::new(move || {
        let service = Arc::clone(&service);
        App::new()
            .default_service(actix_web::dev::fn_service(move |request| decisions::serve(Arc::clone(&service), request)))
    })
    .keep_alive(KeepAlive::Timeout(listener.keep_alive.0));
    if let Some(workers) = listener.workers {
        server = server.workers(workers);
    }
    let (decisions, decisions_server) = bind(server, "decisions", listener.address, certificates.decisions, drain)?;

    let reload = Arc::new(Notify::new());
    let reloader =
        Reloader { source, gate: Arc::clone(&gate), keys: Arc::clone(&keys), reloads, wanted: Arc::clone(&reload) };

    let listener = &settings.listeners.admin;
    let bearer = admin_token.map(|token| Bearer::new(&token)).transpose()?;
    let lifecycle_seen = Arc::clone(&lifecycle);
    let state = web::Data::new(admin::Admin {
        metrics,
        gate,
        lifecycle: lifecycle_seen,
        register: register.clone(),
        limits: Arc::clone(&limits),
        bearer,
    });
    let fault_endpoint = listener.danger_fault_endpoint;
    let server = HttpServer::new(move || {
        App::new()
            .app_data(state.clone())
            .wrap(TracingLogger::<Span>::new())
            .configure(|app| admin::routes(app, &state, fault_endpoint))
    })
    .workers(1);
    let (admin, admin_server) = bind(server, "admin", listener.address, certificates.admin, drain)?;

    let mut running = vec![decisions_server, admin_server];
    let mut public = None;
    if let Some(listener) = &settings.listeners.public {
        let server = HttpServer::new(|| {
            App::new().wrap(public::guarded()).wrap(TracingLogger::<Span>::new()).configure(public::routes)
        })
        .keep_alive(KeepAlive::Timeout(public::KEEP_ALIVE))
        .workers(1);
        let (address, server) = bind(server, "public", listener.address, certificates.public, drain)?;
        public = Some(address);
        running.push(server);
    }

    let servers = running.iter().map(Server::handle).collect();
    for server in running {
        actix_web::rt::spawn(server);
    }
    for source in sources {
        actix_web::rt::spawn(source.keep(Arc::clone(&keys)));
    }
    if let Some(register) = register {
        actix_web::rt::spawn(register.keep());
    }
    actix_web::rt::spawn(reloader.keep(settings.reload.watch));
    lifecycle.listening();
    let version = env!("CARGO_PKG_VERSION");
    tracing::info!(%decisions, %admin, public = public.map(tracing::field::display), version, "listening");
    Ok(Running {
        decisions,
        admin,
        public,
        servers,
        lifecycle,
        audit,
        reload,
        limits,
        not_ready_for: settings.shutdown.not_ready_for.0,
    })
}

fn bind<F, I, S, B>(
    server: HttpServer<F, I, S, B>,
    name: &str,
    address: SocketAddr,
    certificate: Option<Arc<Certificate>>,
    drain: Duration,
) -> io::Result<(SocketAddr, Server)>
where
    F: Fn() -> I + Send + Clone + 'static,
    I: actix_service::IntoServiceFactory<S, actix_http::Request>,
    S: actix_service::ServiceFactory<actix_http::Request, Config = actix_web::dev::AppConfig> + 'static,
    S::Error: Into<actix_web::Error>,
    S::InitError: std::fmt::Debug,
    S::Response: Into<actix_http::Response<B>>,
    B: actix_web::body::MessageBody + 'static,
{
    let server = server
        .backlog(BACKLOG)
        .client_request_timeout(HEAD_TIMEOUT)
        .tls_handshake_timeout(HANDSHAKE_TIMEOUT)
        .max_connection_rate(HANDSHAKES)
        .disable_signals()
        .shutdown_timeout(drain.as_secs().saturating_add(u64::from(drain.subsec_nanos() > 0)));
    let server = match certificate {
        None => server.bind(address),
        Some(certificate) => {
            let config = certificate.config().map_err(io::Error::other)?;
            actix_web::rt::spawn(certificate.watch());
            server.bind_rustls_0_23(address, config)
        }
    };
    let server = server
        .map_err(|error| io::Error::new(error.kind(), format!("the {name} listener cannot have {address}: {error}")))?;
    let bound = server.addrs().first().copied().unwrap_or(address);
    Ok((bound, server.run()))
}
