//! What the first sight of a token costs: taken apart, key found, signature, claims, principal; beside the bare check of the same
//! signature.
//!
//! `cargo bench --bench verify`. What that is of a whole decision, `cargo bench --bench http` tells.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    reason = "a benchmark that cannot go on panics"
)]

#[path = "shop/bare.rs"]
mod bare;
#[path = "shop/setup.rs"]
#[expect(dead_code, reason = "shared with the benches that decide")]
mod shop;
#[path = "../tests/blackbox/support/signer.rs"]
#[expect(dead_code, reason = "shared with the tests, which need more of it")]
mod signer;

use bare::Bare;
use criterion::{Criterion, criterion_group, criterion_main};
use portcullis::clock::UnixTime;
use portcullis::keys::file;
use portcullis::policy::Principal;
use portcullis::token::issuer::Audiences;
use portcullis::token::{Issuer, KeySet, UnverifiedToken};
use signer::Signer;

fn verify(criterion: &mut Criterion) {
    let secret = b"a secret of more than thirty-two bytes, for HS256";
    let signers = [
        ("HS256", Signer::hmac("HS256", secret)),
        ("RS256", Signer::new("rsa", "RS256")),
        ("EdDSA", Signer::new("ed", "EdDSA")),
        ("ES256", Signer::new("ec", "ES256")),
    ];
    let issuer = issuer();
    for (name, signer) in &signers {
        let token = shop::token(signer, 0);
        let now = UnixTime::from_secs(shop::now().cast_signed());
        let keys = match *name {
            "HS256" => file::secret(&secret.to_vec().into(), &[]).unwrap().keys,
            _ => file::jwk_set(shop::jwk_set(&[signer]).to_string().as_bytes(), &[]).unwrap().keys,
        };
        let bare = Bare::of(signer, &token);
        let mut group = criterion.benchmark_group(*name);
        group.bench_function("bare signature check", |bencher| bencher.iter(|| bare.check()));
        group.bench_function("first sight", |bencher| bencher.iter(|| principal(&issuer, &token, &keys, now)));
        group.finish();
    }
}

fn principal(issuer: &Issuer, token: &str, keys: &KeySet, now: UnixTime) -> Principal {
    let verified = issuer.verify(UnverifiedToken::parse(token).unwrap(), keys, now).unwrap();
    issuer.principal(&verified, &[])
}

fn issuer() -> Issuer {
    Issuer::new("shop", "https://id.shop.localhost", Audiences::OneOf(vec!["shop".into()]))
}

criterion_group! { name = first_sight; config = Criterion::default(); targets = verify }
criterion_main!(first_sight);
