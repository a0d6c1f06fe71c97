//! Who may change something through the admin listener: whoever shows the configured token (RFC 6750).

use std::io;

use actix_web::HttpRequest;
use actix_web::http::header;
use aws_lc_rs::{hmac, rand};
use secrecy::{ExposeSecret as _, SecretSlice};

/// Knows the token when it sees it. It holds only a hash of it, under a key that nobody has: comparing two such hashes takes as
/// long for every wrong token.
#[derive(Debug, Clone)]
pub struct Bearer {
    key: hmac::Key,
    tag: hmac::Tag,
}

impl Bearer {
    /// Believes whoever shows `token`.
    ///
    /// # Errors
    /// If the system gives no random bytes.
    pub fn new(token: &SecretSlice<u8>) -> io::Result<Self> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &rand::SystemRandom::new());
        let key = key.map_err(|_| io::Error::other("the system gives no random bytes"))?;
        let tag = hmac::sign(&key, token.expose_secret());
        Ok(Self { key, tag })
    }

    /// Whether the request shows the token, exactly once.
    #[must_use]
    pub fn admits(&self, request: &HttpRequest) -> bool {
        let mut lines = request.headers().get_all(header::AUTHORIZATION);
        let (Some(line), None) = (lines.next(), lines.next()) else { return false };
        let line = line.as_bytes();
        let Some((scheme, token)) = line.split_at_checked(b"Bearer ".len()) else { return false };
        scheme.eq_ignore_ascii_case(b"Bearer ") && hmac::verify(&self.key, token, self.tag.as_ref()).is_ok()
    }
}
