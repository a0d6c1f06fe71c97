//! The admin listener: is it alive, is it ready, what has it done.

pub mod bearer;
mod explain;
mod issuer;
mod limits;
mod problem;
mod revocations;

use std::sync::Arc;

use actix_web::http::header::{self, ContentType};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use super::lifecycle::{Lifecycle, Readiness};
use super::metrics::Metrics;
use super::metrics::exposition::Format;
use crate::gate::Gate;
use crate::limits::Limits;
use crate::revocations::Register;
use bearer::Bearer;

/// What the admin listener shows.
#[derive(Debug)]
pub struct Admin {
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The gate.
    pub gate: Arc<Gate>,
    /// Where the process is in its life.
    pub lifecycle: Arc<Lifecycle>,
    /// What is revoked, if anything can be.
    pub register: Option<Arc<Register>>,
    /// The buckets of limits.
    pub limits: Arc<Limits>,
    /// Who may change something; none if nobody may.
    pub bearer: Option<Bearer>,
}

/// Mounts the endpoints.
pub fn routes(app: &mut web::ServiceConfig, admin: &Admin, fault_endpoint: bool) {
    app.route("/health", web::get().to(health))
        .route("/ready", web::get().to(ready))
        .route("/metrics", web::get().to(metrics));
    if let (Some(register), Some(bearer)) = (&admin.register, &admin.bearer) {
        revocations::routes(app, register, bearer);
    }
    if let Some(bearer) = &admin.bearer {
        explain::routes(app, bearer);
        limits::routes(app, &admin.limits, bearer);
    }
    if fault_endpoint {
        app.route("/fail", web::post().to(fail)).route("/fail", web::get().to(fail));
    }
}

/// Whether the process lives; no dependency counts, since a restart mends none.
async fn health(admin: web::Data<Admin>) -> HttpResponse {
    if admin.lifecycle.has_failed() {
        return HttpResponse::InternalServerError().json(json!({"status": "failed", "why": "/fail was called"}));
    }
    HttpResponse::Ok().json(json!({"status": "ok"}))
}

/// Whether it can decide.
async fn ready(admin: web::Data<Admin>) -> HttpResponse {
    let mut not = HttpResponse::ServiceUnavailable();
    match admin.lifecycle.readiness(&admin.gate, admin.register.as_deref()) {
        Readiness::Ready => HttpResponse::Ok().json(json!({"status": "ready"})),
        Readiness::Draining => not.json(json!({"status": "draining"})),
        Readiness::WithoutKeys(issuers) => not.json(json!({"status": "not ready", "issuers_without_keys": issuers})),
        Readiness::WithoutRevocations => not.json(json!({"status": "not ready", "why": "revocations are not loaded"})),
        Readiness::Starting => not.json(json!({"status": "starting"})),
    }
}

async fn metrics(admin: web::Data<Admin>, request: HttpRequest) -> HttpResponse {
    let accepts = request.headers().get_all(header::ACCEPT);
    let accept: Vec<&str> = accepts.filter_map(|line| line.to_str().ok()).collect();
    let format = Format::asked_by(&accept.join(","));
    HttpResponse::Ok()
        .content_type(format.content_type())
        .insert_header((header::VARY, "Accept"))
        .body(admin.metrics.text(format))
}

async fn fail(admin: web::Data<Admin>) -> HttpResponse {
    admin.lifecycle.fail();
    tracing::warn!("/fail was called: /health answers 500 until restart");
    HttpResponse::Ok().content_type(ContentType::plaintext()).body("/health answers 500 from now on\n")
}
