//! Revoking by HTTP: `POST`, `GET` and `DELETE /revocations`. Refusals are problems (RFC 9457).

mod demand;

use std::sync::Arc;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::clock;
use super::Admin;
use super::bearer::Bearer;
use super::issuer::issuer;
use super::problem::{Problem, admit, answer, bad, body};
use crate::clock::UnixTime;
use crate::gate::Gate;
use crate::revocations::live::Filter;
use crate::revocations::register::Refused;
use crate::revocations::{Id, Line, Register, What};
use demand::Demand;

/// Longest body: a token of the longest length that is read, and what stands around it.
const MAX_BODY_BYTES: usize = 32 * 1024;

/// What the members of a body are.
const REMEDY: &str = "`issued_before` and `expires_at` are numbers, everything else is text";

/// How many entries a page has unless another number is asked for, and at most.
const PAGE: usize = 100;
const MAX_PAGE: usize = 1000;

/// Mounts the endpoints.
pub(super) fn routes(app: &mut web::ServiceConfig, register: &Arc<Register>, bearer: &Bearer) {
    let scope = web::scope("/revocations")
        .app_data(web::PayloadConfig::new(MAX_BODY_BYTES))
        .app_data(web::Data::from(Arc::clone(register)))
        .app_data(web::Data::new(bearer.clone()))
        .route("", web::post().to(revoke))
        .route("", web::get().to(list))
        .route("/{id}", web::delete().to(restore));
    app.service(scope);
}

async fn revoke(
    request: HttpRequest,
    admin: web::Data<Admin>,
    register: web::Data<Register>,
    bearer: web::Data<Bearer>,
    read: Result<web::Bytes, actix_web::Error>,
) -> HttpResponse {
    let result = async {
        admit(&request, &bearer)?;
        let demand: Demand = body(read, MAX_BODY_BYTES, REMEDY)?;
        let (entry, ends) = demand.entry(&admin.gate, clock::now()).map_err(bad)?;
        let line = register.revoke(entry, ends).await.map_err(refused)?;
        tracing::info!(id = %line.id, by = line.entry.as_ref().map(|entry| entry.what.key()), "revoked");
        Ok(HttpResponse::Created()
            .insert_header((header::LOCATION, format!("/revocations/{}", line.id)))
            .json(shown(&line, &admin.gate)))
    };
    answer(result.await)
}

/// What may be asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    issuer: Option<String>,
    jti: Option<String>,
    sid: Option<String>,
    subject: Option<String>,
    after: Option<Id>,
    limit: Option<usize>,
}

async fn list(
    request: HttpRequest,
    admin: web::Data<Admin>,
    register: web::Data<Register>,
    bearer: web::Data<Bearer>,
) -> HttpResponse {
    answer(admit(&request, &bearer).and_then(|()| {
        let query = web::Query::<Query>::from_query(request.query_string());
        let query = query.map_err(|error| bad(unreadable(&error)))?;
        let named = query.issuer.as_deref().map(|name| issuer(&admin.gate, Some(name))).transpose();
        let issuer = named.map_err(bad)?.map(|issuer| &*issuer.issuer);
        let values = [("jti", &query.jti), ("sid", &query.sid), ("subject", &query.subject)];
        let mut values = values.into_iter().filter_map(|(key, value)| Some((key, value.as_deref()?)));
        let (value, None) = (values.next(), values.next()) else {
            return Err(bad("name one of jti, sid, subject, or none of them"));
        };
        let limit = query.limit.unwrap_or(PAGE);
        if !(1..=MAX_PAGE).contains(&limit) {
            return Err(bad(format!("`limit` is a number from 1 to {MAX_PAGE}")));
        }
        let lines = register.live().list(&Filter { issuer, value }, query.after.unwrap_or(Id::FIRST), limit);
        let entries: Vec<Value> = lines.iter().map(|line| shown(line, &admin.gate)).collect();
        let next = lines.last().filter(|_| lines.len() == limit).map(|line| line.id.to_string());
        Ok(HttpResponse::Ok().json(json!({"revocations": entries, "next": next})))
    }))
}

/// What the library says of a query that cannot be read, as far as it names members and not what their types are called here.
fn unreadable(error: &actix_web::error::QueryPayloadError) -> String {
    let said = error.to_string();
    let unknown = said.split_once("unknown field").map(|(_, rest)| format!("unknown field{rest}"));
    let why = unknown.unwrap_or_else(|| "`limit` is a number, `after` a `next`, and nothing stands twice".to_owned());
    format!("the query cannot be read: {why}")
}

async fn restore(
    request: HttpRequest,
    register: web::Data<Register>,
    bearer: web::Data<Bearer>,
    id: web::Path<String>,
) -> HttpResponse {
    let result = async {
        admit(&request, &bearer)?;
        let none = || (StatusCode::NOT_FOUND, "there is no such revocation".to_owned());
        let id: Id = id.parse().map_err(|_| none())?;
        if !register.restore(id).await.map_err(refused)? {
            return Err(none());
        }
        tracing::info!(%id, "a revocation was taken back");
        Ok(HttpResponse::NoContent().finish())
    };
    answer(result.await)
}

fn refused(why: Refused) -> Problem {
    let status = match why {
        Refused::Full => StatusCode::INSUFFICIENT_STORAGE,
        Refused::Store(_) | Refused::NoName(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, why.to_string())
}

/// An entry as it is shown: times in seconds, as in tokens; the issuer by its configured name, or its identifier if it has none.
fn shown(line: &Line, gate: &Gate) -> Value {
    let mut shown = Map::new();
    let mut put = |key: &str, value: Value| shown.insert(key.to_owned(), value);
    put("id", line.id.to_string().into());
    if let Some(entry) = &line.entry {
        let mut issuers = gate.authenticator().issuers();
        let issuer = issuers.find(|issuer| *issuer.issuer == *entry.issuer);
        put("issuer", issuer.map_or(&*entry.issuer, |issuer| &*issuer.name).into());
        put(entry.what.key(), (&*entry.value).into());
        if let What::Subject { issued_before } = entry.what {
            put("issued_before", seconds(issued_before));
        }
        put("reason", entry.reason.as_deref().into());
    }
    put("created_at", seconds(line.id.made()));
    put("ends_at", seconds(line.ends));
    Value::Object(shown)
}

/// Seconds since 1970, with a fraction if there is one.
fn seconds(moment: UnixTime) -> Value {
    let micros = moment.micros();
    if micros.rem_euclid(1_000_000) == 0 { moment.secs().into() } else { json!(micros as f64 / 1e6) }
}
