//! The token parser: it does not panic, it takes nothing apart that a plain reading takes apart otherwise, and it believes nothing but
//! the two messages that somebody has signed.
//!
//! Input that begins with `{` is a header, a payload and a signature, one line each, from which a token is put together: bytes that go
//! through base64 would otherwise hardly ever be JSON. Any other input is the token.
#![no_main]

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libfuzzer_sys::fuzz_target;
use portcullis::keys::file;
use portcullis::token::{Algorithm, Jws, KeySet, UnverifiedToken, jwk};
use serde_json::{Value, json};

/// RFC 8037 appendix A.4 and RFC 7515 appendix A.1: the only messages that these keys have signed.
const SIGNED: [&str; 2] = [
    "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
    "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
];
const PUBLIC: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
const SECRET: &str = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";

static KEYS: LazyLock<[KeySet; 2]> = LazyLock::new(|| {
    let provider = &jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER;
    provider.install_default().expect("the only one");
    let set = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": PUBLIC}]}).to_string();
    let secret = URL_SAFE_NO_PAD.decode(SECRET).expect("base64url");
    let secret = jwk::from_secret(&secret, Algorithm::HS256).expect("a long secret");
    let keys = [file::jwk_set(set.as_bytes(), &[]).expect("a key").keys, [secret].into_iter().collect()];
    for (keys, token) in keys.iter().zip(SIGNED) {
        keys.signer(&Jws::parse(token).expect("a token")).expect("its signature is good");
    }
    keys
});

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if text.starts_with('{') {
        let mut lines = text.splitn(3, '\n').map(|line| URL_SAFE_NO_PAD.encode(line));
        let mut next = || lines.next().unwrap_or_default();
        check(&format!("{}.{}.{}", next(), next(), next()));
    } else {
        check(text);
    }
});

fn check(token: &str) {
    let (jws, claims) = (Jws::parse(token), UnverifiedToken::parse(token));
    let Ok(jws) = jws else {
        assert!(claims.is_err(), "claims of what is no signed message");
        return;
    };
    assert!(token.len() <= 16 * 1024, "longer than allowed");
    let parts: Vec<&str> = token.split('.').collect();
    let [header, payload, _] = parts[..] else { panic!("{} parts", parts.len()) };
    let header = decoded(header);
    assert_eq!(serde_json::from_slice::<Value>(&header).ok(), Some(Value::Object(jws.header().clone())));
    assert!(!jws.header().contains_key("crit"));
    let payload = decoded(payload);
    assert_eq!(payload, jws.payload());
    if let Ok(claims) = claims {
        let plain: Value = serde_json::from_slice(&payload).expect("claims are JSON");
        assert_eq!(claims.issuer(), plain["iss"].as_str());
        assert_eq!(Value::Object(claims.claims().clone()), plain);
    }
    for keys in &*KEYS {
        assert!(keys.signer(&jws).is_err() || SIGNED.contains(&token), "a forged signature is believed");
    }
}

/// There is one way to write a part, and it was written so.
fn decoded(part: &str) -> Vec<u8> {
    let bytes = URL_SAFE_NO_PAD.decode(part).expect("base64url");
    assert_eq!(URL_SAFE_NO_PAD.encode(&bytes), part);
    bytes
}
