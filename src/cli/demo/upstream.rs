//! A server behind the proxies: it answers with what it was sent, as JSON.

use std::io;

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use serde_json::{Map, Value, json};

pub(super) fn start(name: &'static str, address: &str) -> io::Result<()> {
    let server = HttpServer::new(move || {
        App::new().default_service(web::to(move |request: HttpRequest| async move { echo(name, &request) }))
    })
    .workers(1)
    .disable_signals()
    .bind(address)
    .map_err(|error| {
        io::Error::new(error.kind(), format!("the sample server {name} cannot have {address}: {error}"))
    })?;
    actix_web::rt::spawn(server.run());
    Ok(())
}

fn echo(name: &str, request: &HttpRequest) -> HttpResponse {
    let mut headers = Map::new();
    for (header, value) in request.headers() {
        // Not the credential: what is printed here ends in terminals and screenshots.
        let secret = ["authorization", "cookie"].contains(&header.as_str());
        let value =
            if secret { "(not shown)".to_owned() } else { String::from_utf8_lossy(value.as_bytes()).into_owned() };
        headers.insert(header.to_string(), Value::String(value));
    }
    let body = json!({"server": name, "method": request.method().as_str(), "uri": request.uri().to_string(), "headers": headers});
    let mut response = HttpResponse::Ok();
    if let Some(id) = request.headers().get("x-request-id") {
        response.insert_header(("x-request-id", id.clone()));
    }
    response.content_type("application/json").body(format!("{body:#}\n"))
}
