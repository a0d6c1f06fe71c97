//! The decision listener: one handler, nothing else.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::future::poll_immediate;

use super::audit_log::AuditLog;
use super::lifecycle::Lifecycle;
use super::metrics::Metrics;
use super::{clock, request_id};
use crate::gate::{Ask, Gate, InForce, audit};
use crate::policy::{Decision, Policy, Reason};
use crate::protocol::{self, Asker, Check, Dialect, Endpoint, Field, Fields, Reply, TrustedProxies, reply};

/// What answers.
#[derive(Debug)]
pub struct Decisions {
    /// Who decides.
    pub gate: Arc<Gate>,
    /// Who may ask.
    pub trusted_proxies: TrustedProxies,
    /// How long a decision may take.
    pub deadline: Duration,
    /// Whether the end has begun.
    pub lifecycle: Arc<Lifecycle>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What is recorded.
    pub audit: Arc<AuditLog>,
    /// Whether the audit line holds what demands are judged on.
    pub records_principal: bool,
    /// The headers in answers.
    pub headers: Headers,
}

/// What of the headers in answers is known beforehand, made once: making a name costs more than sending it.
#[derive(Debug)]
pub struct Headers {
    names: Vec<HeaderName>,
    refused: Vec<(HeaderName, HeaderValue)>,
}

impl Headers {
    /// The headers in answers under `policy`, which is in force at the start.
    #[must_use]
    pub fn of(policy: &Policy) -> Self {
        let names = policy.identity.names().chain(reply::headers().map(|name| -> &str { name }));
        let named = |name: &str| HeaderName::from_bytes(name.as_bytes()).ok();
        let refused = reply::REFUSED.map(|(name, value)| Some((named(name)?, HeaderValue::from_str(value).ok()?)));
        Self { names: names.filter_map(named).collect(), refused: refused.into_iter().flatten().collect() }
    }

    /// A policy that came later may have others. A name is the same under each policy, so that these need not be of the decision's.
    fn name(&self, name: &str) -> Option<HeaderName> {
        let known = self.names.iter().find(|known| known.as_str() == name).cloned();
        known.or_else(|| HeaderName::from_bytes(name.as_bytes()).ok())
    }
}

/// Answers one check request.
///
/// # Errors
/// None; the type is the server's.
pub async fn serve(decisions: Arc<Decisions>, request: ServiceRequest) -> Result<ServiceResponse, actix_web::Error> {
    let response = decisions.answer(request.request()).await;
    Ok(request.into_response(response))
}

impl Decisions {
    async fn answer(&self, request: &HttpRequest) -> HttpResponse {
        let started = Instant::now();
        let now = clock::now();
        let mut fields = Fields::default();
        for (name, value) in request.headers() {
            if let Some(field) = Field::named(name.as_str()) {
                fields.push(field, value.as_bytes());
            }
        }
        let target = request.uri().path_and_query().map_or("", |target| target.as_str());
        let endpoint = Endpoint::of(target);
        let dialect = endpoint.map(|endpoint| endpoint.dialect);
        let ask = self.ask(request, target, endpoint, &fields);
        // One policy for the decision and for everything that is told of it, whatever is put in force meanwhile.
        let in_force = self.gate.in_force();
        let decision = match &ask {
            Ok(ask) => self.decide(&in_force, ask, now).await,
            Err(reason) => Err((*reason).into()),
        };
        let request_id = request_id::of(&fields);
        let asker = Asker {
            fields: &fields,
            facts: ask.as_ref().ok().map(|ask| &ask.facts),
            uri: endpoint.and_then(|endpoint| protocol::raw_uri(endpoint.client_target, &fields)),
            request_id: &request_id,
        };
        let reply = Reply::new(&decision, &in_force.policy, dialect, &asker);
        let took = started.elapsed();
        let name = dialect.map(Dialect::name);
        self.metrics.count(&decision, name, took);
        if self.audit.is_on() {
            let record = audit::Record {
                at: now,
                decision: &decision,
                status: reply.status,
                facts: asker.facts,
                dialect: name,
                step: endpoint.map(|endpoint| endpoint.step),
                peer: request.peer_addr().map(|peer| peer.ip()),
                raw_uri: asker.uri,
                took,
                request_id: &request_id,
                principal: self.records_principal.then_some(&*in_force.policy.claims),
            };
            let mut line = Vec::with_capacity(512);
            record.write(&mut line);
            self.audit.append(&line);
        }
        self.respond(reply)
    }

    fn ask<'a>(
        &'a self,
        request: &'a HttpRequest,
        target: &'a str,
        endpoint: Option<Endpoint<'a>>,
        fields: &'a Fields<'a>,
    ) -> Result<Ask<'a>, Reason> {
        let peer = self.trusted_proxies.admit(request.peer_addr().map(|peer| peer.ip()))?;
        // CONNECT and absolute-form targets name an authority: no proxy asks so.
        if request.method() == Method::CONNECT || request.uri().authority().is_some() {
            return Err(Reason::MalformedUri);
        }
        let Endpoint { dialect, step, rule_set, client_target } = endpoint.ok_or(Reason::UnknownEndpoint)?;
        let check = Check { peer, rule_set, method: request.method().as_str(), target, client_target, fields };
        protocol::ask(dialect, step, &check)
    }

    async fn decide(&self, in_force: &InForce, ask: &Ask<'_>, now: crate::clock::UnixTime) -> Decision {
        let mut decision = pin!(self.gate.decide(in_force, ask, now));
        // Nearly every decision is there at once; only one that waits needs a timer.
        if let Some(decision) = poll_immediate(decision.as_mut()).await {
            return decision;
        }
        tokio::time::timeout(self.deadline, decision).await.unwrap_or_else(|_| Err(Reason::Deadline.into()))
    }

    fn respond(&self, reply: Reply<'_>) -> HttpResponse {
        // Every status and header here is made of checked parts; should one not fit all the same,
        // the answer is no 200.
        let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        let mut response = HttpResponse::build(status);
        if self.lifecycle.is_draining() {
            response.force_close();
        }
        if reply.status != 200 {
            for (name, value) in &self.headers.refused {
                response.insert_header((name, value));
            }
        }
        for (name, value) in &reply.headers {
            let (Some(name), Ok(value)) = (self.headers.name(name), HeaderValue::from_str(value)) else {
                return HttpResponse::ServiceUnavailable().finish();
            };
            response.insert_header((name, value));
        }
        if reply.body.is_empty() { response.finish() } else { response.body(reply.body) }
    }
}

#[cfg(test)]
mod tests;
