//! Keys from what issuers publish: the numbers of JSON Web Keys (RFC 7518 section 6, RFC 8037), public
//! keys in PEM (RFC 7468), and shared secrets. A key that cannot be used says why.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;

use super::algorithm::KeyKind;
use super::{Algorithm, Key};

/// Smallest RSA modulus, in bits (RFC 7518 section 3.3).
const MIN_RSA_BITS: usize = 2048;

/// The public half of a key as a JWK writes it (RFC 7518 section 6, RFC 8037 section 2): each number in base64url without padding.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the names are those of the registry")]
pub enum Numbers<'a> {
    Rsa { n: &'a str, e: &'a str },
    Ec { crv: &'a str, x: &'a str, y: &'a str },
    Okp { crv: &'a str, x: &'a str },
}

/// A key from the numbers of a JWK. `own` is the JWK's algorithm, and `allowed` narrows the algorithms; empty means: its own, or the
/// usual one of its kind.
///
/// # Errors
/// Why it is no key that verifies signatures.
pub fn from_numbers(
    kid: Option<&str>,
    own: Option<Algorithm>,
    numbers: Numbers<'_>,
    allowed: &[Algorithm],
) -> Result<Key, String> {
    let bytes =
        |name: &str, text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| format!("its `{name}` is no base64url"));
    let material = match numbers {
        Numbers::Rsa { n, e } => Material::Rsa(bytes("n", n)?, bytes("e", e)?),
        Numbers::Ec { crv: "P-256", x, y } => Material::Ec(KeyKind::P256, bytes("x", x)?, bytes("y", y)?),
        Numbers::Ec { crv: "P-384", x, y } => Material::Ec(KeyKind::P384, bytes("x", x)?, bytes("y", y)?),
        Numbers::Okp { crv: "Ed25519", x } => Material::Ed25519(bytes("x", x)?),
        Numbers::Ec { crv, .. } | Numbers::Okp { crv, .. } => {
            return Err(format!("its curve `{crv}` is not verified here"));
        }
    };
    material.key(kid, own, allowed)
}

/// A key from a PEM file with one public key (`BEGIN PUBLIC KEY` or `BEGIN RSA PUBLIC KEY`).
///
/// # Errors
/// What is wrong with the file.
pub fn from_pem(text: &[u8], allowed: &[Algorithm]) -> Result<Key, String> {
    let pem = pem::parse(text).map_err(|_| "it is no PEM file with one public key".to_owned())?;
    let der = pem.contents();
    let material = match pem.tag() {
        "PUBLIC KEY" | "RSA PUBLIC KEY" => Material::from_der(der)?,
        "CERTIFICATE" => return Err("it is a certificate; write its key: openssl x509 -pubkey -noout -in FILE".into()),
        tag if tag.contains("PRIVATE") => return Err("it is a private key, which belongs to the issuer alone; write the public key: openssl pkey -pubout -in FILE".into()),
        tag => return Err(format!("it holds a `{tag}`, not a public key")),
    };
    material.key(None, None, allowed)
}

/// A key from a shared secret, bound to one HMAC algorithm.
///
/// # Errors
/// If the secret is shorter than the algorithm's hash.
pub fn from_secret(secret: &[u8], algorithm: Algorithm) -> Result<Key, String> {
    if secret.len() < algorithm.min_secret_bytes() {
        return Err(format!(
            "the secret has {} bytes; {algorithm:?} needs at least {}",
            secret.len(),
            algorithm.min_secret_bytes()
        ));
    }
    Ok(Key::new(None, KeyKind::Hmac, vec![algorithm], DecodingKey::from_secret(secret), &[secret]))
}

enum Material {
    Rsa(Vec<u8>, Vec<u8>),
    Ec(KeyKind, Vec<u8>, Vec<u8>),
    Ed25519(Vec<u8>),
}

/// The fixed beginnings of SubjectPublicKeyInfo (RFC 5480, RFC 8410) before the raw public key.
const SPKI_P256: [u8; 27] =
    *b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00\x04";
const SPKI_P384: [u8; 24] =
    *b"\x30\x76\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22\x03\x62\x00\x04";
const SPKI_ED25519: [u8; 12] = *b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";

impl Material {
    fn from_der(der: &[u8]) -> Result<Self, String> {
        let halves = |point: &[u8]| point.split_at_checked(point.len() / 2).map(|(x, y)| (x.to_vec(), y.to_vec()));
        if let Some((x, y)) = der.strip_prefix(&SPKI_P256).and_then(halves) {
            return Ok(Self::Ec(KeyKind::P256, x, y));
        }
        if let Some((x, y)) = der.strip_prefix(&SPKI_P384).and_then(halves) {
            return Ok(Self::Ec(KeyKind::P384, x, y));
        }
        if let Some(x) = der.strip_prefix(&SPKI_ED25519) {
            return Ok(Self::Ed25519(x.to_vec()));
        }
        let rsa = aws_lc_rs::rsa::PublicKey::from_der(der)
            .map_err(|_| "it is no RSA, P-256, P-384 or Ed25519 key".to_owned())?;
        Ok(Self::Rsa(
            rsa.modulus().big_endian_without_leading_zero().to_vec(),
            rsa.exponent().big_endian_without_leading_zero().to_vec(),
        ))
    }

    /// The key, bound to its own algorithm, or to those of `allowed` that fit its kind, or to the
    /// usual one of its kind.
    fn key(self, kid: Option<&str>, own: Option<Algorithm>, allowed: &[Algorithm]) -> Result<Key, String> {
        let kind = match &self {
            Self::Rsa(..) => KeyKind::Rsa,
            Self::Ec(kind, ..) => *kind,
            Self::Ed25519(_) => KeyKind::Ed25519,
        };
        let mut algorithms = match own {
            Some(own) => vec![own],
            None if allowed.is_empty() => vec![kind.usual()],
            None => allowed.to_vec(),
        };
        algorithms
            .retain(|algorithm| algorithm.key_kind() == kind && (allowed.is_empty() || allowed.contains(algorithm)));
        if algorithms.is_empty() {
            let own = own.unwrap_or_else(|| kind.usual());
            let fits = own.key_kind() == kind;
            let unfit = || format!("its `alg` is {own:?}, which does not fit its kind");
            return Err(if fits { format!("it is for {own:?}, which `algorithms` does not name") } else { unfit() });
        }
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let broken = |_| "its numbers are broken".to_owned();
        Ok(match &self {
            Self::Rsa(n, e) => {
                let bits = n.iter().skip_while(|b| **b == 0).count().saturating_mul(8);
                if bits < MIN_RSA_BITS {
                    return Err(format!("its RSA modulus has {bits} bits, fewer than {MIN_RSA_BITS}"));
                }
                // With 1 each padded message is its own signature, and an even one has no private half.
                let one = e.strip_suffix(&[1]).is_some_and(|rest| rest.iter().all(|byte| *byte == 0));
                if one || e.last().is_none_or(|last| last % 2 == 0) {
                    return Err("its RSA exponent is 1 or even".to_owned());
                }
                let decoding = DecodingKey::from_rsa_components(&encode(n), &encode(e)).map_err(broken)?;
                Key::new(kid, kind, algorithms, decoding, &[n, e])
            }
            Self::Ec(_, x, y) => {
                let size = if kind == KeyKind::P256 { 32 } else { 48 };
                if x.len() != size || y.len() != size {
                    return Err("its coordinates have the wrong length".into());
                }
                let decoding = DecodingKey::from_ec_components(&encode(x), &encode(y)).map_err(broken)?;
                Key::new(kid, kind, algorithms, decoding, &[x, y])
            }
            Self::Ed25519(x) => {
                if x.len() != 32 {
                    return Err("its `x` has the wrong length".into());
                }
                let decoding = DecodingKey::from_ed_components(&encode(x)).map_err(broken)?;
                Key::new(kid, kind, algorithms, decoding, &[x])
            }
        })
    }
}
