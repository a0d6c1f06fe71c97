//! The public listener: what browsers reach through the proxy. Pages come with Sign-in; until then everything is 404.

use std::time::Duration;

use actix_web::http::header;
use actix_web::middleware::DefaultHeaders;
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, web};
use serde_json::json;

use super::span::RequestId;
use crate::protocol::reply;

/// How long an idle connection is kept, as on the decision listener: the proxies in front keep theirs for 90 s.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(120);

/// The headers of each answer that does not say otherwise: kept by nobody, taken for nothing but what it is called, shown in no
/// frame, running and loading nothing, and telling no other site where the browser came from.
pub(super) fn guarded() -> DefaultHeaders {
    DefaultHeaders::new()
        .add((header::CACHE_CONTROL, "no-store"))
        .add((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .add((header::X_FRAME_OPTIONS, "DENY"))
        .add((header::REFERRER_POLICY, "no-referrer"))
        .add((
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ))
}

/// Mounts what is there.
pub(super) fn routes(app: &mut web::ServiceConfig) {
    app.default_service(web::to(nothing));
}

/// Every path and every method (RFC 9457).
async fn nothing(request: HttpRequest) -> HttpResponse {
    let request_id = request.extensions().get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
    let body =
        json!({"title": "Not Found", "status": 404, "detail": "there is no such page", "request_id": request_id});
    HttpResponse::NotFound()
        .content_type("application/problem+json")
        .insert_header((reply::REQUEST_ID, request_id))
        .body(format!("{body}\n"))
}
