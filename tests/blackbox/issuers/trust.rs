//! Where keys are fetched from is decided by the operator, not by who answers (T-F9). The issuers here are stand-ins: no real
//! provider redirects its keys to a stranger.

use futures_util::future::join_all;
use serde_json::json;

use super::{ask, claims_of, config, entry, ready};
use crate::support::authority::Authority;
use crate::support::gate::{Gate, KEY, within};
use crate::support::provider::API;
use crate::support::stand_in::{FREE, StandIn, http, jwks};

fn redirect(to: &str) -> String {
    http("302 Found", &format!("Location: {to}\r\n"), &jwks(&[&KEY]))
}

fn gate(issuer: &str, keys: &str) -> Gate {
    Gate::start(&config(&[entry("x", issuer, &[&format!("audiences: ['{API}']"), keys])]))
}

/// Asserts that no keys are taken, for this reason.
async fn takes_none(gate: &Gate, issuer: &str, why: &str) {
    within(why, async || gate.log().contains(why)).await;
    ask(gate, "/any", &KEY.token(&claims_of(issuer))).await.expect(503, "keys_unavailable");
    assert_eq!(gate.admin_get("/ready").await.status, 503);
}

#[tokio::test]
async fn t_f9_no_redirect_leads_to_another_host_port_or_scheme() {
    let elsewhere = &StandIn::start(FREE, http("200 OK", "", &jwks(&[&KEY]))).await;
    let other = [
        format!("http://{}/jwks", elsewhere.address),
        format!("//{}/jwks", elsewhere.address),
        format!("http://localhost:{}/jwks", elsewhere.address.port()),
        "http://10.0.0.1/jwks".to_owned(),
        "http://192.168.0.1/jwks".to_owned(),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "http://[::1]/jwks".to_owned(),
        "https://127.0.0.1/jwks".to_owned(),
    ];
    let refused = other.iter().map(async |to| {
        let server = StandIn::start(FREE, redirect(to)).await;
        let issuer = format!("http://{}/", server.address);
        // By its metadata, and by the URL of its keys.
        takes_none(&gate(&issuer, ""), &issuer, "it redirects to another host").await;
        let keys = format!("keys: {{jwks_url: '{issuer}jwks'}}");
        takes_none(&gate(&issuer, &keys), &issuer, "it redirects to another host").await;
    });
    join_all(refused).await;
    assert_eq!(elsewhere.asked().len(), 0, "nobody was asked elsewhere");
}

#[tokio::test]
async fn t_f9_a_redirect_on_the_same_host_is_followed_but_not_for_ever() {
    let server = StandIn::answering(|head| match head.split(' ').nth(1) {
        Some("/jwks") => redirect("/keys"),
        Some("/keys") => http("308 Permanent Redirect", "Location: keys/\r\n", ""),
        Some("/keys/") => http("200 OK", "", &jwks(&[&KEY])),
        _ => redirect("/again"),
    })
    .await;
    let issuer = format!("http://{}/", server.address);
    let good = gate(&issuer, &format!("keys: {{jwks_url: '{issuer}jwks'}}"));
    ready(&good).await;
    ask(&good, "/any", &KEY.token(&claims_of(&issuer))).await.expect(200, "allowed");
    let before = server.asked().len();
    let endless = gate(&issuer, &format!("keys: {{jwks_url: '{issuer}again', refresh: 1h}}"));
    within("too many", async || endless.log().contains("too many redirects")).await;
    assert!(server.asked().len() - before <= 2 * 4, "one attempt, at most another one, of four requests");
}

#[tokio::test]
async fn t_f9_https_does_not_become_http() {
    let authority = Authority::new();
    let elsewhere = StandIn::start(FREE, http("200 OK", "", &jwks(&[&KEY]))).await;
    let plain = format!("http://{}/jwks", elsewhere.address);
    let server = StandIn::over_tls(&authority, String::new()).await;
    let issuer = format!("https://{}/", server.address);
    for (answer, why) in [
        (redirect(&plain), "it redirects to another host"),
        (
            http("200 OK", "", &json!({"issuer": issuer, "jwks_uri": plain}).to_string()),
            "its `jwks_uri`: this is not https",
        ),
    ] {
        server.says(answer);
        let entry = entry("x", &issuer, &[&format!("audiences: ['{API}']"), "keys: {ca_file: ca.pem}"]);
        let entry = entry.replace("    danger_allow_http_issuer: true\n", "");
        let gate = Gate::start(&config(&[entry]).file("ca.pem", &authority.pem()));
        takes_none(&gate, &issuer, why).await;
    }
    assert_eq!(elsewhere.asked().len(), 0, "nobody was asked elsewhere");
}

#[tokio::test]
async fn t_f9_metadata_does_not_lead_to_a_clouds_secrets() {
    let named = [
        ("http://169.254.169.254/latest/meta-data/iam", "link-local services"),
        ("http://[::ffff:a9fe:a9fe]/", "link-local services"),
        ("http://2852039166/", "link-local services"),
        ("http://[fd00:ec2::254]/", "link-local services"),
        ("file:///etc/passwd", "this is not https"),
        ("http://user:password@127.0.0.1/", "the URL holds a credential"),
        ("/jwks", "this is no URL"),
    ];
    let refused = named.iter().map(async |(jwks_uri, why)| {
        let server = StandIn::start(FREE, String::new()).await;
        let issuer = format!("http://{}/", server.address);
        server.says(http("200 OK", "", &json!({"issuer": issuer, "jwks_uri": jwks_uri}).to_string()));
        takes_none(&gate(&issuer, ""), &issuer, why).await;
    });
    join_all(refused).await;
}
