//! Why a request would be decided as it would, by the policy and the keys in force: `POST /explain`. It reads credentials and shows none.

use actix_web::{HttpRequest, HttpResponse, web};

use super::super::clock;
use super::Admin;
use super::bearer::Bearer;
use super::problem::{admit, answer, bad, body};
use crate::explain::{Asked, Explanation, Question};

/// Longest body: two tokens of the longest length that is read (a bearer and a cookie), a target of 8 KiB, and what stands around.
const MAX_BODY_BYTES: usize = 48 * 1024;

/// What the members of a body are.
const REMEDY: &str = "each header in `headers` is a list of texts, everything else is text";

/// Mounts the endpoint.
pub(super) fn routes(app: &mut web::ServiceConfig, bearer: &Bearer) {
    let resource = web::resource("/explain")
        .app_data(web::PayloadConfig::new(MAX_BODY_BYTES))
        .app_data(web::Data::new(bearer.clone()))
        .route(web::post().to(explain));
    app.service(resource);
}

async fn explain(
    request: HttpRequest,
    admin: web::Data<Admin>,
    bearer: web::Data<Bearer>,
    read: Result<web::Bytes, actix_web::Error>,
) -> HttpResponse {
    let result = async {
        admit(&request, &bearer)?;
        let asked: Asked = body(read, MAX_BODY_BYTES, REMEDY)?;
        let question = Question::new(&asked).map_err(bad)?;
        let explanation = Explanation::of(&admin.gate, &question, clock::now()).await;
        Ok(HttpResponse::Ok().json(explanation.json()))
    };
    answer(result.await)
}
