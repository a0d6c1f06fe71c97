//! The sample shop: its files, its tokens, and what to try.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

use super::proxies::Front;
use crate::cli::certificate;
use crate::server::clock;

/// The servers behind the proxies, as the proxies' files name them.
pub(super) const UPSTREAMS: [&str; 2] = ["127.0.0.1:7410", "127.0.0.1:7411"];

/// How long the demo's tokens hold, in seconds: a working day.
const LIFETIME: i64 = 12 * 3600;

/// The authority that clients of the shop are to believe, in the demo's folder.
pub(super) const AUTHORITY: &str = "certificates/shop/ca.crt";

/// The authority that proxies are to believe.
const GATES_AUTHORITY: &str = "certificates/gate/ca.crt";

/// The certificates, as the proxies' files and the settings name them: folder, and whom they are for.
const CERTIFICATES: [(&str, &[&str]); 2] =
    [("certificates/gate", &["127.0.0.1", "gate.localhost"]), ("certificates/shop", &["shop.localhost"])];

const ISSUER: &str = "https://id.shop.localhost";
const KID: &str = "demo";

/// Two signed-in people.
pub(super) struct Tokens {
    user: String,
    admin: String,
}

/// Writes settings, policy and a key set made for this run, whose private key stays in memory; and certificates, unless they are
/// there from an earlier run.
pub(super) fn write(dir: &Path) -> io::Result<Tokens> {
    std::fs::create_dir_all(dir)?;
    for (folder, names) in CERTIFICATES {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        certificate::ensure(&dir.join(folder), &names).map_err(io::Error::other)?;
    }
    let pair = Ed25519KeyPair::generate().map_err(|_| io::Error::other("no key could be made"))?;
    let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
    let jwks = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": KID, "x": x}]});
    std::fs::write(dir.join("jwks.json"), format!("{jwks:#}\n"))?;
    std::fs::write(dir.join("portcullis.yaml"), include_str!("../../../examples/shop/portcullis.yaml"))?;
    std::fs::write(dir.join("policy.yaml"), include_str!("../../../examples/shop/policy.yaml"))?;
    let key = pair.to_pkcs8v1().map_err(|_| io::Error::other("the key could not be written out"))?;
    let key = EncodingKey::from_ed_der(key.as_ref());
    Ok(Tokens { user: token(&key, "alice", "user", "free")?, admin: token(&key, "bob", "admin", "pro")? })
}

fn token(key: &EncodingKey, subject: &str, role: &str, tier: &str) -> io::Result<String> {
    let now = clock::now().secs();
    let mut header = Header::new(Algorithm::EdDSA);
    header.kid = Some(KID.to_owned());
    let claims = json!({
        "iss": ISSUER, "aud": "shop", "sub": subject, "iat": now, "exp": now.saturating_add(LIFETIME),
        "roles": [role], "tier": tier,
    });
    jsonwebtoken::encode(&header, &claims, key).map_err(io::Error::other)
}

/// What to try: curl's arguments behind the URL, the path, what it answers, and why.
const LINES: [(&str, &str, u16, &str); 6] = [
    ("", "/products", 401, "no token"),
    (
        "-H \"Authorization: Bearer $USER_TOKEN\"",
        "/products",
        200,
        "X-User-ID: alice, X-User-Role: user, X-User-Tier: free",
    ),
    ("-H \"Authorization: Bearer $USER_TOKEN\"", "/products/admin", 403, "alice is no admin"),
    ("-H \"Authorization: Bearer $ADMIN_TOKEN\"", "/products/admin", 200, "bob is, tier pro"),
    ("-X POST --cookie \"jwt=$USER_TOKEN\"", "/products/7/buy", 200, "the token in a cookie"),
    ("-H 'X-User-ID: root'", "/authentication/login", 200, "open; the upstream sees no identity"),
];

/// What is running and what to try.
///
/// # Errors
/// If the folder is gone.
pub(super) fn introduction(dir: &Path, tokens: &Tokens, fronts: &[Front]) -> io::Result<String> {
    let authority = if fronts.is_empty() { GATES_AUTHORITY } else { AUTHORITY };
    let authority = dir.join(authority).canonicalize()?;
    let mut text = String::new();
    // Writing to a String cannot fail.
    write!(text, "\nPortcullis decides on 127.0.0.1:7400; health and metrics are on 127.0.0.1:7401.\n").ok();
    write!(text, "In another terminal (alice is a user, bob an admin):\n\n").ok();
    write!(text, "export USER_TOKEN={}\nexport ADMIN_TOKEN={}\n", tokens.user, tokens.admin).ok();
    writeln!(text, "export CA='{}'", authority.display()).ok();
    for front in fronts {
        write!(text, "\n# through {}\n", front.name).ok();
        for (arguments, path, status, why) in LINES {
            let space = if arguments.is_empty() { "" } else { " " };
            writeln!(text, "curl -i --cacert \"$CA\"{space}{arguments} {}{path}   # {status}: {why}", front.base).ok();
        }
    }
    if fronts.is_empty() {
        write!(text, "\n# as Traefik asks\n").ok();
        for (arguments, path, status, why) in LINES {
            let method = if arguments.contains("POST") { "POST" } else { "GET" };
            let arguments = arguments.replace("-X POST ", "");
            let space = if arguments.is_empty() { "" } else { " " };
            writeln!(
                text,
                "curl -i --cacert \"$CA\"{space}{arguments} -H 'X-Forwarded-Method: {method}' -H 'X-Forwarded-Host: shop.localhost' -H 'X-Forwarded-Uri: {path}' -H 'X-Forwarded-For: 127.0.0.1' https://127.0.0.1:7400/validate   # {status}: {why}",
            )
            .ok();
        }
    }
    text.push_str("\nDecisions as they fall (Ctrl-C ends everything):\n");
    Ok(text)
}
