use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::clock::UnixTime;
use crate::policy::{CanonicalPath, Host, Method, Principal, RequestFacts};

fn principal(claims: Value) -> Principal {
    let Value::Object(claims) = claims else { panic!("an object") };
    Principal::new("main", "u-1", ["user", "a,b é"], ["staff"], ["read"], Some("pro+"), claims)
}

fn claims() -> Value {
    json!({
        "role": "admin", "level": 3, "big": 18_446_744_073_709_551_615_u64, "ratio": 0.5, "active": true, "none": null,
        "groups": ["a", "b"], "realm_access": {"roles": ["x", "y"], "a.b": 1}, "https://shop/roles": ["z"],
        "long": vec!["g"; 257], "most": vec!["g"; 256], "deep": {"a": vec!["g"; 200], "b": vec!["g"; 200]},
    })
}

fn judged(source: &str, principal: Option<&Principal>) -> Result<bool, Broken> {
    let expression = Expression::compile(source).unwrap_or_else(|(what, _)| panic!("{source}: {what}"));
    let request = RequestFacts {
        rule_set: None,
        preflight: None,
        method: Method::parse(b"GET").expect("method"),
        host: Host::parse(b"shop.example").expect("host"),
        path: CanonicalPath::parse(b"/admin/users/7/").expect("path"),
        client: [203, 0, 113, 7].into(),
    };
    expression.holds(&Facts { request: &request, principal, now: UnixTime::from_secs(1_700_000_000) })
}

#[test]
fn what_holds_and_what_does_not() {
    let known = principal(claims());
    for (source, held) in [
        ("true", true),
        ("request.method == 'GET' && request.host == \"shop.example\"", true),
        ("request.path.startsWith('/admin/') && !request.path.endsWith('7')", true),
        ("request.segments == ['admin', 'users', '7'] && request.segments[1] == 'users'", true),
        ("int(request.segments[2]) == 7 && double('0.5') == claims.ratio && string(claims.level) == '3'", true),
        ("request.client == '203.0.113.7'", true),
        ("request.time == 1700000000 && request.time % 86400 / 3600 < 24", true),
        ("request['method'] in ['GET', 'HEAD']", true),
        ("claims.role == 'admin'", true),
        ("claims.role == 'Admin'", false),
        ("claims.level >= 3 && claims.level < 4 && claims.level == 3.0", true),
        ("claims.big == 18446744073709551615u && claims.active && claims.none == null", true),
        ("claims.level == '3'", false),
        ("'a' in claims.groups && !('c' in claims.groups)", true),
        ("['a', 'b'] == claims.groups && claims.groups == ['a', 'b'] && ['a'] != claims.groups", true),
        ("'x' in claims.realm_access.roles && claims.realm_access['a.b'] == 1", true),
        ("'z' in claims['https://shop/roles'] && 'https://shop/roles' in claims && !('roles' in claims)", true),
        (
            "has(claims.role) && !has(claims.other) && has(claims.realm_access.roles) && !has(claims.realm_access.x)",
            true,
        ),
        ("has(claims.none)", true),
        ("claims.groups.exists(g, g == 'b') && claims.groups.all(g, g in ['a', 'b'])", true),
        ("claims.groups.exists_one(g, g.startsWith('a')) && claims.groups.all(g, g in claims.most)", false),
        ("claims.groups.filter(g, g != 'a').size() == 1 && size(claims.groups.map(g, g == 'a')) == 2", true),
        ("claims.groups.filter(g, g != 'a').exists(g, g == 'b') && 'x'.size() == 1 && size('xy') == 2", true),
        ("claims.realm_access.exists(name, name == 'roles')", true),
        ("claims.most.all(g, g == 'g')", true),
        ("principal.id == 'u-1' && principal.issuer == 'main' && principal.tier == 'pro+'", true),
        (
            "'user' in principal.roles && 'a,b é' in principal.roles && principal.scopes == ['read'] && principal.groups == ['staff']",
            true,
        ),
        ("'a' in principal.roles", false),
        ("matches(request.path, '^/admin/users/[0-9]+/?$') && request.host.matches(r'^[a-z.]+$')", true),
        ("matches(request.path, '^/admin$') || matches(request.path, '^x|/admin$')", false),
        ("claims.level > 2 ? request.method == 'GET' : false", true),
        ("[1, 2].exists(n, claims.level - n == 1) && -claims.level == -3 && claims.level * 2 + 1 == 7", true),
        // One side settles it.
        ("claims.other == 'x' || request.method == 'GET'", true),
        ("request.method == 'PUT' && claims.other == 'x'", false),
    ] {
        assert_eq!(judged(source, Some(&known)), Ok(held), "{source}");
    }
    let nameless = Principal::new("main", "u", [], [], [], None, Map::new());
    assert_eq!(judged("size(principal.roles) == 0", Some(&nameless)), Ok(true));
    // The upstream is told the default tier: neither answer would be true.
    for source in ["principal.tier == null", "principal.tier != 'free'", "principal.tier == 'free'"] {
        assert!(judged(source, Some(&nameless)).is_err(), "{source}");
    }
}

#[test]
fn what_has_no_answer_is_broken() {
    let known = principal(claims());
    for source in [
        "claims.other == 'x'",
        "claims.other != 'x'",
        "!(claims.other == 'x')",
        "has(claims.other.x)",
        "has(claims.role.x)",
        "claims.role.x == 1",
        "claims.groups[2] == 'x'",
        "claims.groups['x'] == 'x'",
        "claims.level + 'x' == 1",
        "claims.level < 'x'",
        "claims.level / 0 == 1",
        "claims.big + 18446744073709551615u == 1u",
        "claims.level && true",
        "!claims.level",
        "claims.level",
        "request.path",
        "size(claims.level) == 1",
        "int(claims.role) == 1",
        "claims.role.matches('^a$') && claims.level.matches('^a$') || claims.level.matches('^3$')",
        "claims.role.exists(c, c == 'a')",
        "'a' in claims.role",
        "'g' in claims.long",
        "claims.long.exists(g, g == 'g')",
        "size(claims.deep) == 2",
        "claims.groups.all(g, g == claims.other)",
    ] {
        assert!(judged(source, Some(&known)).is_err(), "{source}");
    }
}

#[test]
fn a_stranger_has_no_claims() {
    for source in [
        "claims.role != 'admin'",
        "!has(claims.role)",
        "!('role' in claims)",
        "principal.id != ''",
        "principal.tier == null",
        "principal.roles.all(r, r != 'banned')",
        "principal.scopes == []",
        "principal.issuer != 'x'",
    ] {
        assert!(judged(source, None).is_err(), "{source}");
    }
    assert_eq!(judged("request.method == 'GET'", None), Ok(true));
    // Too many roles are not fewer roles.
    let many: Vec<String> = (0..300).map(|n| n.to_string()).collect();
    let many = Principal::new("i", "s", many.iter().map(String::as_str), [], [], None, Map::new());
    assert!(judged("principal.roles.all(r, r != '299')", Some(&many)).is_err());
}

#[test]
fn what_is_refused_when_it_is_read() {
    let bracketed = format!("{}true{}", "(".repeat(200), ")".repeat(200));
    let chain = format!("true{}", " && request.method == 'GET'".repeat(36));
    let wide = format!("request.method in [''{}]", ",''".repeat(280));
    let wider = format!("request.segments.exists(s, s in [''{}])", ", ''".repeat(60));
    let signs = format!("{}true", "!".repeat(300));
    let fields = format!("claims.x[0]{} == 1", ".a".repeat(300));
    let sums = format!("1{} == 1", "+1".repeat(400));
    let ternaries = format!("{}true", "true?true:".repeat(90));
    let long = format!("request.method == '{}'", "x".repeat(1024));
    let mut wrong = Vec::new();
    let pattern = "matches(request.path, '^(?:\\\\w{500}){500}$')";
    for (source, position, word) in [
        ("", "1:1", "no CEL"),
        ("request.method ==", "1:18", "no CEL"),
        ("request.method =\n= 'x'", "1:16", "no CEL"),
        ("a b", "1:3", "no CEL"),
        ("request.method == 'x' &&\n  clams.role == 'x'", "2:3", "no `clams`"),
        ("true && request.verb == 'x'", "1:16", "`request` has no `verb`"),
        ("principal.name == 'x'", "1:10", "`principal` has no `name`"),
        ("request.path.x == 'x'", "1:13", "`request` has no `path.x`"),
        ("request['path']['x'] == 'x'", "1:16", "`request` has no `path.x`"),
        ("has(request.path)", "1:4", "always there"),
        ("claims[request.path] == 'x'", "1:1", "`claims` stands alone"),
        ("request.path in claims", "1:17", "`claims` stands alone"),
        ("claims.exists(c, c == 'x')", "1:1", "`claims` stands alone"),
        ("size(claims) == 1", "1:6", "`claims` stands alone"),
        ("principal == null", "1:1", "`principal` stands alone"),
        ("request == request", "1:1", "`request` stands alone"),
        ("lower(request.path) == 'x'", "1:6", "no function `lower`"),
        ("request.path.startsWith('a', 'b')", "1:24", "no function `startsWith`"),
        ("startsWith(request.path, 'a')", "1:11", "no function `startsWith`"),
        ("type(claims.x) == int", "1:5", "no function `type`"),
        ("dyn(claims.x) == 1", "1:4", "no function `dyn`"),
        ("bytes(request.path) == b'x'", "1:6", "no function `bytes`"),
        ("request.path == b'x'", "1:17", "bytes"),
        ("{'a': 1}.a == 1", "1:1", "no such value"),
        ("a.b{c: 1} == 1", "1:4", "no such value"),
        ("int == int", "1:1", "no `int`"),
        ("claims.?x == 1", "1:7", "no CEL"),
        ("claims[?'x'] == 1", "1:7", "no CEL"),
        ("claims.`a.b` == 1", "1:7", "no CEL"),
        ("request.path.matches(request.host)", "1:29", "no constant"),
        ("request.path.matches('/admin')", "1:22", "not anchored"),
        ("request.path.matches('^/admin')", "1:22", "not anchored"),
        ("request.path.matches('^/[$')", "1:22", "no pattern"),
        ("matches(request.path)", "1:8", "takes a text and a pattern"),
        (pattern, "1:23", "size limit"),
        ("claims.a.exists(x, claims.b.exists(y, x == y))", "1:35", "loop inside a loop"),
        ("claims.a.all(x, claims.a.all(y, claims.a.all(z, x == z)))", "1:29", "loop inside a loop"),
        ("claims.a.exists(request, request.path == 'x')", "1:16", "taken"),
        ("claims.a.exists(x, x + x == 'x')", "1:22", "adds"),
        ("@x == 1", "1:1", "no CEL"),
        ("claims.a.all(x, x in claims.b && x in claims.c && x in claims.d)", "", "inside loops"),
        (&wide, "", "parts"),
        (&wider, "", "inside loops"),
        (&bracketed, "", "nested"),
        (&signs, "", "nested"),
        (&fields, "", "nested"),
        (&sums, "", "nested"),
        (&ternaries, "", "nested"),
        (&long, "", "bytes"),
    ] {
        let Err((what, remedy)) = Expression::compile(source) else {
            wrong.push(format!("{source} is taken"));
            continue;
        };
        if !(what.contains(word) && what.starts_with(position) && !remedy.is_empty()) {
            wrong.push(format!("{source}: {what}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(Expression::compile(&chain).is_ok(), "a long chain is not deep");
}

#[test]
fn it_tells_what_it_reads() {
    let names = |source| {
        let expression = Expression::compile(source).expect("expression");
        let mut names: Vec<_> = expression.claims().map(str::to_owned).collect();
        names.sort_unstable();
        (names.join(" "), expression.needs_principal())
    };
    let all =
        "claims.a == 1 && claims['b'] == 1 && has(claims.c) && 'd' in claims && claims.e.f.g == 1 && has(claims.h.i)";
    assert_eq!(names(all), ("a b c d e h".to_owned(), true));
    assert_eq!(
        names("claims.k['x'][0].y == 1 && claims['l'].m.exists(x, x.y == claims.n)"),
        ("k l n".to_owned(), true)
    );
    assert_eq!(names("request.path == 'x'"), (String::new(), false));
    for source in ["principal.id == 'x'", "'x' in principal.roles", "principal.tier == null"] {
        assert_eq!(names(source), (String::new(), true), "{source}");
    }
    let expression = Expression::compile("claims.a == 1").expect("expression");
    assert_eq!((expression.clone(), expression.source()), (expression.clone(), "claims.a == 1"));
    assert_ne!(expression, Expression::compile("claims.a ==  1").expect("expression"));
    assert_eq!(format!("{expression:?}"), "Expression(\"claims.a == 1\")");
}

#[test]
fn what_breaks_does_not_quote_the_token() {
    let known = principal(json!({"secret": "s3cr3t", "list": ["s3cr3t"]}));
    for source in ["claims.secret < 1", "claims.list + 1 == 1", "int(claims.secret) == 1", "-claims.secret == 1"] {
        let broken = judged(source, Some(&known)).expect_err(source);
        assert!(!format!("{broken:?} {broken}").contains("s3cr3t"), "{source}");
    }
}

#[test]
fn three_hundredfold_loops_end_at_once() {
    let known = principal(json!({"a": vec!["x"; 300], "b": vec!["x"; 256], "c": vec!["y"; 256]}));
    let begun = Instant::now();
    let nested = "claims.a.all(x, claims.a.all(y, claims.a.all(z, x == z)))";
    assert!(Expression::compile(nested).is_err());
    assert!(judged("claims.a.all(x, x == 'x')", Some(&known)).is_err());
    // 256 items, of which each is looked for among 256.
    assert_eq!(judged("claims.b.exists(x, x in claims.c)", Some(&known)), Ok(false));
    assert!(begun.elapsed() < Duration::from_secs(2), "12 s without bounds: {:?}", begun.elapsed());
}

/// Texts that come near to expressions.
fn near() -> impl Strategy<Value = String> {
    let token = prop::sample::select(vec![
        "claims",
        "request",
        "principal",
        ".",
        "path",
        "roles",
        "a",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "'x'",
        "'^x$'",
        "1",
        "1u",
        "-",
        "!",
        "&&",
        "||",
        "==",
        "in",
        "?",
        ":",
        "+",
        "has",
        "all",
        "exists",
        "map",
        "filter",
        "size",
        "matches",
        ",",
        "\"",
        "'",
        "\\",
        "x",
        " ",
        "\n",
        "é",
        "0x",
        "9223372036854775808",
        "1e999",
        "b'x'",
        "r'",
        "@",
        "`",
        "//",
        "int",
        "true",
        "null",
        "%",
        "/",
    ]);
    prop::collection::vec(token, 0..40).prop_map(|tokens| tokens.concat())
}

proptest! {
    #[test]
    fn no_source_panics(source in prop_oneof![".{0,200}", near()]) {
        if let Ok(expression) = Expression::compile(&source) {
            judged(expression.source(), Some(&principal(claims()))).ok();
            judged(expression.source(), None).ok();
        }
    }
}
