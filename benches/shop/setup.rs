//! The sample shop as the thing that is measured: its files with keys of our own, its tokens, what Traefik asks.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::signer::Signer;

/// Writes the sample shop's files into `folder`, with `keys` as its issuer's; gives back the settings file. `more` stands below
/// its settings.
pub(crate) fn write(folder: &Path, keys: &[&Signer], more: &str) -> PathBuf {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/shop");
    let settings = fs::read_to_string(examples.join("portcullis.yaml")).unwrap();
    let settings = settings.replace("127.0.0.1:7400", "127.0.0.1:0").replace("127.0.0.1:7401", "127.0.0.1:0");
    // What TLS costs, benches/tls measures.
    let settings = settings.lines().filter(|line| !line.contains("tls:")).collect::<Vec<_>>().join("\n");
    let file = folder.join("portcullis.yaml");
    fs::write(&file, format!("{settings}\n{more}\n")).unwrap();
    // What limits cost, benches/limits measures; a bench asks oftener than anybody may.
    let policy = fs::read_to_string(examples.join("policy.yaml")).unwrap();
    let (before, rest) = policy.split_once("# How much somebody may").unwrap();
    let (_, rules) = rest.split_once("rules:\n").unwrap();
    fs::write(folder.join("policy.yaml"), format!("{before}rules:\n{rules}")).unwrap();
    fs::write(folder.join("jwks.json"), jwk_set(keys).to_string()).unwrap();
    file
}

/// The public halves of `keys` as a JWK set.
pub(crate) fn jwk_set(keys: &[&Signer]) -> Value {
    json!({"keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>()})
}

/// Now, in seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// An access token of an ordinary user, as identity providers make them: by RS256 about 780 bytes.
pub(crate) fn token(signer: &Signer, number: usize) -> String {
    let now = now();
    signer.token(&json!({
        "iss": "https://id.shop.localhost", "aud": ["shop", "account"], "sub": format!("8f14e45f-ceea-467f-a1d6-{number:012}"),
        "iat": now, "exp": now + 3600, "jti": format!("{number:032}"), "azp": "shop-web", "scope": "openid profile email",
        "roles": ["user"], "tier": "pro", "email": "somebody@shop.example",
    }))
}

/// The headers that Traefik asks with.
pub(crate) fn headers(uri: &str, token: Option<&str>) -> Vec<(&'static str, String)> {
    let fixed = [
        ("Host", "127.0.0.1:7400"),
        ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101"),
        ("Accept", "text/html,application/xhtml+xml;q=0.9"),
        ("Accept-Encoding", "gzip"),
        ("Cookie", "theme=dark; lang=en"),
        ("X-Forwarded-For", "203.0.113.7"),
        ("X-Forwarded-Host", "shop.localhost"),
        ("X-Forwarded-Method", "GET"),
        ("X-Forwarded-Port", "443"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Server", "edge-1"),
        ("X-Forwarded-Uri", uri),
        ("X-Request-Id", "6f1c1c3e-0b5a-4a6f-9c39-5c9f0d4c0a11"),
    ];
    let credential = token.map(|token| ("Authorization", format!("Bearer {token}")));
    fixed.into_iter().map(|(name, value)| (name, value.to_owned())).chain(credential).collect()
}
