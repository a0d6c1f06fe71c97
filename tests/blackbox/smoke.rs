//! The shortest way through.

use crate::support::gate::{Gate, token};

#[tokio::test]
async fn a_token_opens_a_route() {
    let gate = Gate::shop();
    gate.ask("GET", "/products", &[]).await.expect(401, "no_credential");
    let bearer = format!("Bearer {}", token("alice", &["user"]));
    let answer = gate.ask("GET", "/products", &[("Authorization", &bearer)]).await;
    answer.expect(200, "allowed");
    assert_eq!(answer.header("x-user-id"), Some("alice"));
}
