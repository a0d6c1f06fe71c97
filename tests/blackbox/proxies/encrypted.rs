//! The gate asked over TLS, with the changes that the proxies' files tell to make then.

use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use super::shop::{IDENTITY, Kind, Shop, alice, through_all};
use crate::support::gate::Config;
use crate::support::proxy::Options;

// The shipped files of the others say nothing of it yet.
through_all!(
    [Nginx as through_nginx, Caddy as through_caddy]
    the_gate_is_asked_over_tls,
    a_gate_with_a_strangers_certificate_is_not_believed,
);

const CERTIFIED: &str = "gate.localhost";

/// The certificate of an authority, and one for the gate with its key, in PEM.
fn certificates() -> (Certificate, String, String) {
    let mut params = CertificateParams::new(Vec::<String>::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // Another than the gate's, which would else look self-signed.
    params.distinguished_name.push(DnType::CommonName, "authority");
    let key = KeyPair::generate().expect("a key");
    let authority = params.self_signed(&key).expect("a certificate");
    let gates_key = KeyPair::generate().expect("a key");
    let gates = CertificateParams::new(vec![CERTIFIED.to_owned()]).expect("a name");
    let gates = gates.signed_by(&gates_key, &Issuer::new(params, key)).expect("a certificate");
    (authority, gates.pem(), gates_key.serialize_pem())
}

/// The shop whose gate speaks TLS, behind a proxy that believes the authority, or a stranger of the same name.
async fn shop(kind: Kind, stranger: bool) -> (Shop, TempDir) {
    let (authority, certificate, key) = certificates();
    let believed = if stranger { certificates().0 } else { authority };
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("ca.crt");
    std::fs::write(&path, believed.pem()).expect("written");
    let config = Config::shop()
        .edit(
            "    address: 127.0.0.1:0\n    # The",
            "    tls: {certificate_file: gate.crt, key_file: gate.key}\n    address: 127.0.0.1:0\n    # The",
        )
        .file("gate.crt", &certificate)
        .file("gate.key", &key);
    let change = |shipped: Options| {
        let shipped = shipped.lift_rate_limit().edit("/etc/portcullis/ca.crt", &path.display().to_string());
        match kind {
            Kind::Nginx => shipped.edit("# proxy_ssl_", "proxy_ssl_").edit("http://gate/", "https://gate/"),
            Kind::Caddy => shipped.edit("# tls_", "tls_").edit("forward_auth 127", "forward_auth https://127"),
            Kind::Traefik | Kind::Envoy => panic!("its file does not say how"),
        }
    };
    (Shop::with(kind, &config, change).await, folder)
}

async fn the_gate_is_asked_over_tls(kind: Kind) {
    let (shop, _folder) = shop(kind, false).await;
    let token = format!("Bearer {}", alice());
    let client = shop.proxy.raw();
    for _ in 0..3 {
        assert_eq!(client.get("/products", &[("Authorization", &token)]).await.status, 200);
        assert_eq!(client.get("/products/admin", &[("Authorization", &token)]).await.status, 403);
        assert_eq!(client.get("/orders", &[]).await.status, 401);
    }
    let received: Vec<_> = shop.upstreams.iter().flat_map(|upstream| upstream.requests()).collect();
    assert_eq!(received.len(), 3, "{received:?}");
    for request in received {
        assert_eq!(IDENTITY.map(|name| request.header(name).concat()), ["alice", "user", "free"]);
    }
}

async fn a_gate_with_a_strangers_certificate_is_not_believed(kind: Kind) {
    let (shop, _folder) = shop(kind, true).await;
    let token = format!("Bearer {}", alice());
    let answer = shop.proxy.raw().get("/products", &[("Authorization", &token)]).await;
    assert_eq!(answer.status, if kind == Kind::Nginx { 503 } else { 502 }, "{answer:?}");
    assert!(shop.gate.audit().is_empty());
    assert!(shop.upstreams.iter().all(|upstream| upstream.requests().is_empty()));
}
