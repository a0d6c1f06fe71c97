//! Refusals of the admin listener, as problems (RFC 9457).

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::bearer::Bearer;

/// Why something was not done: the status, and words for whoever asked.
pub(super) type Problem = (StatusCode, String);

pub(super) fn answer(result: Result<HttpResponse, Problem>) -> HttpResponse {
    result.unwrap_or_else(|(status, detail)| {
        let title = status.canonical_reason().unwrap_or_default();
        let body = json!({"title": title, "status": status.as_u16(), "detail": detail});
        let mut response = HttpResponse::build(status);
        if status == StatusCode::UNAUTHORIZED {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"portcullis admin\""));
        }
        response.content_type("application/problem+json").body(format!("{body}\n"))
    })
}

pub(super) fn admit(request: &HttpRequest, bearer: &Bearer) -> Result<(), Problem> {
    let why = if request.headers().contains_key(header::AUTHORIZATION) {
        "what is shown is not the token of this admin listener, as `Authorization: Bearer ...`"
    } else {
        "show the token of the admin listener: `Authorization: Bearer ...`"
    };
    bearer.admits(request).then_some(()).ok_or((StatusCode::UNAUTHORIZED, why.to_owned()))
}

pub(super) fn bad(detail: impl Into<String>) -> Problem {
    (StatusCode::BAD_REQUEST, detail.into())
}

/// What a body of at most `max` bytes says; `remedy` says what its members are.
pub(super) fn body<T: DeserializeOwned>(
    read: Result<web::Bytes, actix_web::Error>,
    max: usize,
    remedy: &str,
) -> Result<T, Problem> {
    let body = read.map_err(|error| {
        let status = error.as_response_error().status_code();
        (status, format!("the body cannot be read; it may have {max} bytes"))
    })?;
    serde_json::from_slice(&body).map_err(|error| bad(format!("{}; {remedy}", words(&error))))
}

/// What the library says of a body that cannot be read, which repeats no value of it: one may be a token.
fn words(error: &serde_json::Error) -> String {
    let said = error.to_string();
    let said = said.split(" at line").next().unwrap_or_default();
    // What begins so names members only; the rest may show the value.
    let is_harmless = ["unknown field", "duplicate field", "missing field"].iter().any(|start| said.starts_with(start));
    let why = if is_harmless { said } else { "it is no JSON object, or a member has the wrong type" };
    format!("the body cannot be read: {why}")
}
