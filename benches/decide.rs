//! What a decision costs inside the process: from the parsed head of a check request to the answer, the count and the audit line.
//!
//! `cargo bench --bench decide` measures time. `cargo bench --bench decide -- --instructions` counts instructions with valgrind,
//! which a busy machine does not disturb: it is how changes are judged.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark that cannot go on panics, and prints its result"
)]

#[path = "shop/bare.rs"]
mod bare;
#[path = "shop/instructions.rs"]
mod instructions;
#[path = "shop/setup.rs"]
mod shop;
#[path = "../tests/blackbox/support/signer.rs"]
#[expect(dead_code, reason = "shared with the tests, which need more of it")]
mod signer;

use std::sync::Arc;

use actix_web::dev::ServiceRequest;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::test::TestRequest;
use bare::Bare;
use criterion::{BatchSize, Criterion};
use futures_util::FutureExt as _;
use portcullis::config;
use portcullis::server::audit_log::AuditLog;
use portcullis::server::decisions::{Decisions, Headers, serve};
use portcullis::server::lifecycle::Lifecycle;
use portcullis::server::metrics::{Metrics, Observed};
use signer::Signer;

fn main() {
    let times = instructions::times();
    if let Some((BARE, times)) = times.as_ref().map(|(name, times)| (name.as_str(), *times)) {
        let signer = Signer::new("rsa", "RS256");
        let token = shop::token(&signer, 0);
        let check = Bare::of(&signer, &token);
        return instructions::counted(times, |_| check.check());
    }
    let cases = cases(if times.is_some() { 1_000 } else { 100_000 });
    match times {
        None if instructions::wanted() => {
            let counts = instructions::print(cases.iter().map(|case| case.name).chain([BARE]));
            let least = counts["allow"] + counts[BARE];
            println!("\nnever seen, of allow and {BARE}: {:.2}", counts["allow, never seen"] as f64 / least as f64);
        }
        None => measure(&cases),
        Some((name, times)) => {
            let case = cases.iter().find(|case| case.name == name).unwrap();
            let mut requests: Vec<_> = (0..case.heads.len()).map(|number| Some(case.request(number))).collect();
            instructions::counted(times, |number| {
                let slot = &mut requests[number % case.heads.len()];
                *slot = Some(case.decide(slot.take().unwrap()));
            });
        }
    }
}

/// The case without which a token never seen cannot be believed.
const BARE: &str = "bare RS256 check";

/// One kind of decision.
struct Case {
    name: &'static str,
    service: Arc<Decisions>,
    heads: Vec<HeaderMap>,
    target: &'static str,
    status: u16,
}

fn cases(distinct: usize) -> Vec<Case> {
    let (rsa, ed, strange) = (Signer::new("rsa", "RS256"), Signer::new("ed", "EdDSA"), Signer::new("rsa", "RS256"));
    let remembering = service(&[&rsa, &ed], 128, "");
    let forgetting = service(&[&rsa, &ed], 0, "");
    let limited = service(&[&rsa, &ed], 128, LIMITS);
    let good = shop::token(&rsa, 0);
    let one = |uri, token: Option<&str>| vec![head(uri, token)];
    let case = |name, service: &Arc<Decisions>, heads, status| Case {
        name,
        service: Arc::clone(service),
        heads,
        target: "/validate",
        status,
    };
    let product = "/products/42?page=3";
    let cases = vec![
        case("allow", &remembering, one(product, Some(&good)), 200),
        case("allow, under a limit", &limited, one(product, Some(&good)), 200),
        case(
            "allow, of many tokens",
            &remembering,
            (0..distinct).map(|i| head(product, Some(&shop::token(&ed, i)))).collect(),
            200,
        ),
        case("allow, never seen", &forgetting, one(product, Some(&good)), 200),
        case("401, no token", &remembering, one(product, None), 401),
        case("401, no JWT", &remembering, one(product, Some("x")), 401),
        case("401, forged", &remembering, one(product, Some(&shop::token(&strange, 0))), 401),
        case("403, lacks a role", &remembering, one("/products/admin", Some(&good)), 403),
        case("403, no rule", &remembering, one("/nowhere", Some(&good)), 403),
        Case { target: "/nothing", ..case("404", &remembering, one(product, Some(&good)), 404) },
    ];
    for case in &cases {
        // So that the cache has settled which tokens it keeps.
        for number in 0..case.heads.len() * 2 {
            case.decide(case.request(number));
        }
    }
    cases
}

/// As the shop has it, but with more in it than a bench uses up.
const LIMITS: &str = "limits: [{name: per-user, by: user, rate: 100000, burst: 1000000}]\n";

/// `policy` stands above that of the shop.
fn service(keys: &[&Signer], mebibytes: u64, policy: &str) -> Arc<Decisions> {
    let folder = tempfile::TempDir::new().unwrap();
    let file =
        shop::write(folder.path(), keys, &format!("stores: {{verified_tokens: {{max_mebibytes: {mebibytes}}}}}"));
    let of_shop = std::fs::read_to_string(folder.path().join("policy.yaml")).unwrap();
    std::fs::write(folder.path().join("policy.yaml"), format!("{policy}{of_shop}")).unwrap();
    let loaded = config::load(&file, &Vec::new()).unwrap();
    let (gate, lifecycle) = (Arc::new(loaded.gate), Arc::new(Lifecycle::default()));
    let audit = Arc::new(AuditLog::to(Box::new(std::io::sink())).unwrap());
    let observed = Observed {
        gate: Arc::clone(&gate),
        lifecycle: Arc::clone(&lifecycle),
        audit: Arc::clone(&audit),
        keys: loaded.keys,
        introspectors: loaded.introspectors,
        register: None,
        limits: loaded.limits,
        reloads: Arc::default(),
    };
    Arc::new(Decisions {
        trusted_proxies: loaded.trusted_proxies,
        deadline: loaded.settings.listeners.decisions.deadline.0,
        metrics: Arc::new(Metrics::new(observed)),
        lifecycle,
        audit,
        records_principal: false,
        headers: Headers::of(&gate.in_force().policy),
        gate,
    })
}

fn head(uri: &str, token: Option<&str>) -> HeaderMap {
    let headers = shop::headers(uri, token);
    let named =
        |(name, value): (&str, String)| (name.parse::<HeaderName>().unwrap(), HeaderValue::try_from(value).unwrap());
    headers.into_iter().map(named).collect()
}

impl Case {
    fn request(&self, number: usize) -> ServiceRequest {
        let mut request = TestRequest::with_uri(self.target).peer_addr(([127, 0, 0, 1], 1024).into());
        for (name, value) in &self.heads[number % self.heads.len()] {
            request = request.append_header((name, value));
        }
        request.to_srv_request()
    }

    /// Decides, and gives the request back: what it costs to make and drop one is the server's.
    fn decide(&self, request: ServiceRequest) -> ServiceRequest {
        let (request, response) =
            serve(Arc::clone(&self.service), request).now_or_never().unwrap().unwrap().into_parts();
        assert_eq!(response.status(), self.status, "{}", self.name);
        ServiceRequest::from_request(request)
    }
}

fn measure(cases: &[Case]) {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("decide");
    for case in cases {
        let mut number = 0;
        group.bench_function(case.name, |bencher| {
            bencher.iter_batched(
                || {
                    number += 1;
                    case.request(number)
                },
                |request| case.decide(request),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
    criterion.final_summary();
}
