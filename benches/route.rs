//! What it costs to find the rule of a request, by the number of rules and hosts: in instructions, and the same on any machine.
//!
//! `cargo bench --bench route` counts with valgrind and fails if the worst case costs more than 1.1 of the smallest. It also tells how
//! long a policy takes to compile, and what it holds in memory.
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
#[expect(dead_code, reason = "shared with a bench that measures time, too")]
mod instructions;

use std::fs;
use std::hint::black_box;
use std::time::Instant;

use portcullis::policy::{CanonicalPath, Host, Method, Policy, PolicyFile, RequestFacts};
use serde_json::json;

/// Numbers of rules and of hosts.
const SIZES: [(&str, usize, usize); 9] = [
    ("10 rules, 1 host", 10, 1),
    ("10 rules, 100 hosts", 10, 100),
    ("10 rules, 10000 hosts", 10, 10_000),
    ("1000 rules, 1 host", 1_000, 1),
    ("1000 rules, 100 hosts", 1_000, 100),
    ("1000 rules, 10000 hosts", 1_000, 10_000),
    ("10000 rules, 1 host", 10_000, 1),
    ("10000 rules, 100 hosts", 10_000, 100),
    ("10000 rules, 10000 hosts", 10_000, 10_000),
];

/// How much more the largest policy may cost than the smallest: a trie is as deep as the path, and a hash table that is fuller by chance
/// is looked into once more now and then.
const MOST: f64 = 1.1;

fn main() {
    if let Some((name, times)) = instructions::times() {
        let (_, rules, hosts) = SIZES.into_iter().find(|(case, ..)| *case == name).unwrap();
        let policy = Policy::compile(&file(rules, hosts)).unwrap();
        let requests: Vec<_> = (0..times).map(|number| request(rules, hosts, number)).collect();
        let facts: Vec<_> = requests.iter().map(|(host, path)| facts(host, path)).collect();
        return instructions::counted(times, |number| {
            black_box(policy.route(&facts[number]).expect("a rule"));
        });
    }
    println!("{:26} {:>12} {:>12}", "", "compiled in", "holds");
    for (name, rules, hosts) in SIZES {
        let file = file(rules, hosts);
        let (before, started) = (resident(), Instant::now());
        let policy = Policy::compile(&file).unwrap();
        let took = started.elapsed();
        println!("{name:26} {:>9.1} ms {:>9.1} MiB", took.as_secs_f64() * 1e3, (resident() - before) / 1_048_576.0);
        assert!(took.as_secs_f64() < 1.0, "{name} takes more than a second");
        // So that the next one does not live in what this one leaves.
        std::mem::forget(policy);
    }
    println!();
    let counts = instructions::print(SIZES.into_iter().map(|(name, ..)| name));
    let least = counts[SIZES[0].0] as f64;
    let most = counts.values().map(|count| *count as f64 / least).fold(0.0, f64::max);
    println!("\nthe dearest, of 10 rules on one host: {most:.3}");
    assert!(most <= MOST, "the size of the policy is felt");
}

/// As real policies are: texts, names, regular expressions and `/**`, some methods. All names are of one length.
fn file(rules: usize, hosts: usize) -> PolicyFile {
    let rule = |number: usize| {
        // With fewer rules than hosts each rule has many hosts, else each host has many rules.
        let own: Vec<String> = (0..hosts.max(rules)).filter(|i| i % rules == number).map(|i| host(i % hosts)).collect();
        let own: Vec<&String> = own.iter().take(hosts.div_ceil(rules)).collect();
        let base = format!("/service-{number:05}");
        json!({
            "id": format!("rule-{number}"), "hosts": own, "methods": ["GET", "POST"], "allow": {"roles": {"any": ["user"]}},
            "paths": [format!("{base}/orders/{{id:[0-9]+}}"), format!("{base}/orders/{{name}}/items"), format!("{base}/**")],
        })
    };
    serde_json::from_value(json!({"rules": (0..rules).map(rule).collect::<Vec<_>>()})).unwrap()
}

fn host(number: usize) -> String {
    format!("host-{number:05}.example.com")
}

/// Requests of all rules and hosts, one of each kind after the other.
fn request(rules: usize, hosts: usize, number: usize) -> (String, String) {
    // A step that has no divisor with any size, so that consecutive requests are far apart.
    let place = number * 7_919 % rules.max(hosts);
    let base = format!("/service-{:05}", place % rules);
    let path = match number % 3 {
        0 => format!("{base}/orders/{:06}", number),
        1 => format!("{base}/orders/abcdef/items"),
        _ => format!("{base}/a/b/c/d/e"),
    };
    (host(place % hosts), path)
}

fn facts<'a>(host: &'a str, path: &'a str) -> RequestFacts<'a> {
    RequestFacts {
        rule_set: None,
        preflight: None,
        method: Method::parse(b"GET").unwrap(),
        host: Host::parse(host.as_bytes()).unwrap(),
        path: CanonicalPath::parse(path.as_bytes()).unwrap(),
        client: [192, 0, 2, 1].into(),
    }
}

/// Bytes of this process in memory.
fn resident() -> f64 {
    let pages: f64 = fs::read_to_string("/proc/self/statm").unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096.0
}
