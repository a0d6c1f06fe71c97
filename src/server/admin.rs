//! The admin listener: is it alive, is it ready, what has it done.

use std::sync::Arc;

use actix_web::http::header::ContentType;
use actix_web::{HttpResponse, web};
use serde_json::json;

use super::lifecycle::Lifecycle;
use super::metrics::Metrics;
use crate::gate::Gate;

/// What the admin listener shows.
#[derive(Debug)]
pub struct Admin {
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The gate.
    pub gate: Arc<Gate>,
    /// Where the process is in its life.
    pub lifecycle: Arc<Lifecycle>,
}

/// Mounts the endpoints.
pub fn routes(app: &mut web::ServiceConfig, fault_endpoint: bool) {
    app.route("/health", web::get().to(health))
        .route("/ready", web::get().to(ready))
        .route("/metrics", web::get().to(metrics));
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

/// Whether it can decide: the listeners are open, the keys of every issuer are loaded, the end has
/// not begun. The policy is compiled before anything listens.
async fn ready(admin: web::Data<Admin>) -> HttpResponse {
    let authenticator = admin.gate.authenticator();
    let without_keys: Vec<&str> = authenticator
        .issuers()
        .enumerate()
        .filter(|(index, _)| authenticator.keys().current(*index).is_none())
        .map(|(_, issuer)| &*issuer.name)
        .collect();
    if admin.lifecycle.is_draining() {
        HttpResponse::ServiceUnavailable().json(json!({"status": "draining"}))
    } else if !without_keys.is_empty() {
        HttpResponse::ServiceUnavailable().json(json!({"status": "not ready", "issuers_without_keys": without_keys}))
    } else if !admin.lifecycle.takes_work() {
        HttpResponse::ServiceUnavailable().json(json!({"status": "starting"}))
    } else {
        HttpResponse::Ok().json(json!({"status": "ready"}))
    }
}

async fn metrics(admin: web::Data<Admin>) -> HttpResponse {
    let format = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    HttpResponse::Ok().content_type(format).body(admin.metrics.text())
}

async fn fail(admin: web::Data<Admin>) -> HttpResponse {
    admin.lifecycle.fail();
    tracing::warn!("/fail was called: /health answers 500 until restart");
    HttpResponse::Ok().content_type(ContentType::plaintext()).body("/health answers 500 from now on\n")
}
