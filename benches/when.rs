//! What a condition in CEL costs at a request, beside the demand that says the same.
//!
//! `cargo bench --bench when` measures time. `cargo bench --bench when -- --instructions` counts instructions with valgrind, which
//! a busy machine does not disturb.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    reason = "a benchmark that cannot go on panics, and prints its result"
)]

#[path = "shop/instructions.rs"]
mod instructions;

use std::time::Instant;

use criterion::Criterion;
use portcullis::clock::UnixTime;
use portcullis::policy::demand::ClaimTest;
use portcullis::policy::{CanonicalPath, ClaimPath, Demand, Expression, Facts, Host, Method, Principal, RequestFacts};
use serde_json::{Value, json};

/// Loops in loops in loops over 300 items: 12.5 s if it ran.
const NESTED: &str = "claims.long.all(x, claims.long.all(y, claims.long.all(z, x == y && y == z)))";

/// The conditions, by name. The first says what the demand says.
const CONDITIONS: [(&str, &str); 7] = [
    (SAME, "claims.role == 'admin' && request.path.startsWith('/admin')"),
    ("cel, left side is false", "claims.role == 'user' && request.path.startsWith('/admin')"),
    ("cel, in a list", "'shop' in claims.groups"),
    ("cel, role", "'admin' in principal.roles"),
    ("cel, loop over 10", "claims.groups.exists(g, g == 'shop')"),
    ("cel, pattern", "matches(request.path, '^/admin/users/[0-9]+$')"),
    // The most that is let in: 256 items, each looked for among 256, as often as a loop may.
    ("cel, the dearest", "claims.most.exists(x, x in claims.many || x in claims.many)"),
];
const SAME: &str = "cel, claim and path";
const NATIVE: &str = "demand, claim and path";

fn main() {
    let principal = principal();
    let request = RequestFacts {
        rule_set: None,
        preflight: None,
        method: Method::parse(b"GET").unwrap(),
        host: Host::parse(b"shop.localhost").unwrap(),
        path: CanonicalPath::parse(b"/admin/users/7").unwrap(),
        client: [203, 0, 113, 7].into(),
    };
    let facts = Facts { request: &request, principal: Some(&principal), now: UnixTime::from_secs(1_700_000_000) };
    let demand = Demand::Claim(ClaimPath::new("role"), ClaimTest::Equals("admin".into()));
    let native = || demand.check(&facts).is_ok() && facts.request.path.segments().next() == Some("admin");
    assert!(native());
    let conditions = CONDITIONS.map(|(name, source)| (name, Expression::compile(source).unwrap()));

    if let Some((name, times)) = instructions::times() {
        return match conditions.iter().find(|(own, _)| *own == name) {
            Some((_, condition)) => instructions::counted(times, |_| assert!(condition.holds(&facts).is_ok())),
            None => instructions::counted(times, |_| assert!(native())),
        };
    }
    if instructions::wanted() {
        let names = CONDITIONS.iter().map(|(name, _)| *name);
        let counts = instructions::print([NATIVE].into_iter().chain(names));
        println!("\nof {NATIVE}: {:.1}", counts[SAME] as f64 / counts[NATIVE] as f64);
        return;
    }
    let begun = Instant::now();
    let (what, _) = Expression::compile(NESTED).expect_err("a loop inside a loop");
    println!("{NESTED}\nrefused in {:?}: {what}", begun.elapsed());
    let begun = Instant::now();
    let broken = Expression::compile("claims.long.all(x, x == 'x')").unwrap().holds(&facts).expect_err("a long list");
    println!("a list of 300, read and judged in {:?}: {broken}\n", begun.elapsed());

    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("when");
    group.bench_function(NATIVE, |bencher| bencher.iter(native));
    for (name, condition) in &conditions {
        group.bench_function(*name, |bencher| bencher.iter(|| condition.holds(&facts).unwrap()));
    }
    group.finish();
    criterion.final_summary();
}

/// A principal with ten groups, and with lists as long as they may be, and longer.
fn principal() -> Principal {
    let groups: Vec<_> = (0..9).map(|n| format!("group-{n}")).chain(["shop".to_owned()]).collect();
    let claims = json!({
        "role": "admin", "groups": groups, "most": vec!["x"; 256], "many": vec!["y"; 256], "long": vec!["x"; 300],
    });
    let Value::Object(claims) = claims else { panic!("an object") };
    Principal::new("shop", "u-1", ["user", "admin"], [], ["openid"], Some("pro"), claims)
}
