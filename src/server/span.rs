//! The span of a request on the listeners that are not the proxies': what the operational log tells of it.

use actix_web::HttpMessage as _;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use tracing_actix_web::RootSpanBuilder;

use super::request_id;
use crate::protocol::{Field, Fields, reply};

/// The id of a request, which its answer repeats.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

/// Method, path and id, never the query, which is nobody's to log.
#[derive(Debug)]
pub struct Span;

impl RootSpanBuilder for Span {
    fn on_request_start(request: &ServiceRequest) -> tracing::Span {
        let mut fields = Fields::default();
        for id in request.headers().get_all(reply::REQUEST_ID) {
            fields.push(Field::RequestId, id.as_bytes());
        }
        let request_id = request_id::of(&fields).into_owned();
        let span = tracing::info_span!(
            "request",
            method = %request.method(),
            path = request.path(),
            request_id,
            status = tracing::field::Empty
        );
        request.extensions_mut().insert(RequestId(request_id));
        span
    }

    fn on_request_end<B: MessageBody>(span: tracing::Span, outcome: &Result<ServiceResponse<B>, actix_web::Error>) {
        if let Ok(response) = outcome {
            span.record("status", response.status().as_u16());
            // Strangers reach the public listener: what each request adds to the log must be asked for.
            tracing::debug!("answered");
        }
    }
}
