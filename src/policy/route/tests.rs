use super::super::Access;
use super::super::demand::Patterns;
use super::super::document::Who;
use super::*;

fn rule(id: &str) -> Arc<Rule> {
    Arc::new(Rule {
        id: id.into(),
        access: Access { who: Who::Anonymous, demands: Vec::new() },
        credentials: Vec::new(),
        message: None,
        cors: None,
        limits: Vec::new(),
    })
}

/// A table of `id`, host, path, methods.
fn table(rows: &[(&str, &str, &str, &[&str])]) -> RouteTable {
    let mut table = RouteTable::new(false);
    for (id, host, path, methods) in rows {
        let methods = Methods(methods.iter().map(|m| Box::from(*m)).collect());
        let host = host_pattern(host);
        assert!(
            table
                .add(&host, &Pattern::parse(path, &Patterns::default()).expect("pattern"), &methods, &rule(id))
                .hidden_by
                .is_none(),
            "{id} is hidden"
        );
    }
    table.finish().expect("finished");
    table
}

fn host_pattern(text: &str) -> HostPattern {
    match text.strip_prefix("*.") {
        _ if text == "*" => HostPattern::Any,
        Some(suffix) => HostPattern::Below(suffix.into()),
        None => HostPattern::Exact(text.into()),
    }
}

fn find(table: &RouteTable, method: &str, host: &str, path: &str) -> Option<String> {
    let host = Host::parse(host.as_bytes()).expect("host");
    let path = CanonicalPath::parse(path.as_bytes()).expect("path");
    let method = Method::parse(method.as_bytes()).expect("method");
    table.find(&host, &path, method).map(|rule| rule.id.to_string())
}

#[test]
fn the_most_specific_path_wins_whatever_the_order_of_the_file() {
    let table = table(&[
        ("all", "h", "/**", &[]),
        ("any", "h", "/products/{id}", &[]),
        ("below", "h", "/products/**", &[]),
        ("admin", "h", "/products/admin", &[]),
        ("buy", "h", "/products/{id}/buy", &["POST"]),
        ("root", "h", "/", &[]),
    ]);
    for (method, path, wanted) in [
        ("GET", "/", Some("root")),
        ("GET", "/x", Some("all")),
        ("GET", "/products", Some("below")),
        ("GET", "/products/", Some("below")),
        ("GET", "/products/7", Some("any")),
        ("GET", "/products/admin", Some("admin")),
        ("GET", "/products/admin/", Some("admin")),
        ("GET", "/products/%61dmin", Some("admin")),
        ("GET", "/products/administrator", Some("any")),
        ("GET", "/products/admin/x", Some("below")),
        ("POST", "/products/7/buy", Some("buy")),
        ("POST", "/products/admin/buy", Some("buy")),
        ("GET", "/products/7/buy", None),
    ] {
        assert_eq!(find(&table, method, "h", path).as_deref(), wanted, "{method} {path}");
    }
}

#[test]
fn a_stricter_path_is_not_escaped_by_another_method() {
    let table = table(&[("lax", "h", "/**", &[]), ("strict", "h", "/admin", &["GET"])]);
    assert_eq!(find(&table, "GET", "h", "/admin").as_deref(), Some("strict"));
    assert_eq!(find(&table, "HEAD", "h", "/admin").as_deref(), Some("strict"), "GET brings HEAD");
    assert_eq!(find(&table, "POST", "h", "/admin"), None);
}

#[test]
fn methods_named_go_before_methods_unnamed_and_options_must_be_named() {
    let table = table(&[("any", "h", "/a", &[]), ("post", "h", "/a", &["POST"]), ("cors", "h", "/b", &["OPTIONS"])]);
    assert_eq!(find(&table, "POST", "h", "/a").as_deref(), Some("post"));
    assert_eq!(find(&table, "FOO", "h", "/a").as_deref(), Some("any"));
    assert_eq!(find(&table, "OPTIONS", "h", "/a"), None);
    assert_eq!(find(&table, "TRACE", "h", "/a"), None);
    assert_eq!(find(&table, "OPTIONS", "h", "/b").as_deref(), Some("cors"));
}

#[test]
fn t_b1_letter_case_of_the_host_changes_no_rule() {
    let table = table(&[
        ("any", "*", "/**", &[]),
        ("wide", "*.example.com", "/**", &[]),
        ("narrow", "*.b.example.com", "/**", &[]),
        ("exact", "admin.example.com", "/**", &[]),
    ]);
    for (host, wanted) in [
        ("ADMIN.example.com", "exact"),
        ("a.B.example.com", "narrow"),
        ("x.y.B.Example.com", "narrow"),
        ("b.example.com", "wide"),
        ("example.com", "any"),
        ("xexample.com", "any"),
        ("127.0.0.1", "any"),
    ] {
        assert_eq!(find(&table, "GET", host, "/").as_deref(), Some(wanted), "{host}");
    }
}

#[test]
fn a_host_that_is_named_does_not_fall_through_to_a_laxer_one() {
    let table = table(&[("lax", "*", "/**", &[]), ("strict", "h", "/a", &[])]);
    assert_eq!(find(&table, "GET", "h", "/b"), None);
}

#[test]
fn t_b2_the_host_table_answers_alike_whatever_its_size() {
    for size in [1_usize, 99, 101, 10_000] {
        let mut table = RouteTable::new(false);
        let pattern = Pattern::parse("/**", &Patterns::default()).expect("pattern");
        for i in 0..size {
            let host = HostPattern::Exact(format!("h{i}.example.com").into());
            table.add(&host, &pattern, &Methods::default(), &rule(&format!("r{i}")));
        }
        table.add(&HostPattern::Below("example.com".into()), &pattern, &Methods::default(), &rule("wide"));
        let last = size - 1;
        assert_eq!(find(&table, "GET", &format!("H{last}.Example.COM."), "/x"), Some(format!("r{last}")));
        assert_eq!(find(&table, "GET", &format!("h{size}.example.com:80"), "/x").as_deref(), Some("wide"));
        assert_eq!(find(&table, "GET", "other.example", "/x"), None);
    }
}

#[test]
fn t_a14_folded_case_folds_escapes_too() {
    let mut table = RouteTable::new(true);
    let all = HostPattern::Any;
    table.add(&all, &Pattern::parse("/**", &Patterns::default()).expect("pattern"), &Methods::default(), &rule("lax"));
    table.add(
        &all,
        &Pattern::parse("/Admin/{id}", &Patterns::default()).expect("pattern"),
        &Methods::default(),
        &rule("strict"),
    );
    for path in ["/ADMIN/x", "/%41dmin/x", "/admin/X", "/aDMIN/x/"] {
        assert_eq!(find(&table, "GET", "h", path).as_deref(), Some("strict"), "{path}");
    }
}

#[test]
fn a_rule_that_can_never_match_is_given_back() {
    let mut table = RouteTable::new(false);
    let (host, path) = (HostPattern::Any, Pattern::parse("/a", &Patterns::default()).expect("pattern"));
    let named = |m: &[&str]| Methods(m.iter().map(|m| Box::from(*m)).collect());
    assert!(table.add(&host, &path, &named(&["GET", "POST"]), &rule("first")).hidden_by.is_none());
    assert!(table.add(&host, &path, &Methods::default(), &rule("rest")).hidden_by.is_none());
    let put = table.add(&host, &path, &named(&["POST", "PUT"]), &rule("put"));
    let taken: Vec<_> = put.taken.iter().map(|(method, rule)| (&**method, &*rule.id)).collect();
    assert_eq!((put.hidden_by, taken), (None, vec![("POST", "first")]));
    assert_eq!(
        table.add(&host, &path, &named(&["HEAD"]), &rule("head")).hidden_by.map(|r| r.id.to_string()).as_deref(),
        Some("first")
    );
    assert_eq!(
        table.add(&host, &path, &Methods::default(), &rule("again")).hidden_by.map(|r| r.id.to_string()).as_deref(),
        Some("rest")
    );
}

#[test]
fn segments_too_long_for_an_expression_are_refused_and_not_handed_to_a_laxer_rule() {
    let table = table(&[("strict", "h", "/x/{id:[a-z]+}", &[]), ("lax", "h", "/**", &[]), ("other", "g", "/**", &[])]);
    let segment = |length| format!("/x/{}", "a".repeat(length));
    assert_eq!(find(&table, "GET", "h", &segment(256)).as_deref(), Some("strict"));
    assert_eq!(find(&table, "GET", "h", &segment(257)), None);
    assert_eq!(find(&table, "GET", "g", &segment(257)).as_deref(), Some("other"));
}

#[test]
fn expressions_come_after_texts_and_before_names_in_the_order_of_the_file() {
    let table = table(&[
        ("any", "h", "/x/{any}", &[]),
        ("digits", "h", "/x/{id:[0-9]+}", &[]),
        ("short", "h", "/x/{id:.{1,3}}", &[]),
        ("text", "h", "/x/12", &[]),
        ("below", "h", "/x/{id:[0-9]+}/items", &[]),
    ]);
    for (path, wanted) in [
        ("/x/12", Some("text")),
        ("/x/123", Some("digits")),
        ("/x/ab", Some("short")),
        ("/x/abcd", Some("any")),
        ("/x/123/items", Some("below")),
        ("/x/ab/items", None),
        ("/x/1a", Some("short")),
    ] {
        assert_eq!(find(&table, "GET", "h", path).as_deref(), wanted, "{path}");
    }
}

#[test]
fn what_ignores_case_takes_no_expression_that_folds_otherwise() {
    for (source, good) in [("{a:[A-Z]+}", true), ("{a:stra\u{df}e}", false), ("{a:(?-i)ADMIN}", false)] {
        let mut table = RouteTable::new(true);
        let pattern = Pattern::parse(&format!("/x/{source}"), &Patterns::default()).expect("pattern");
        table.add(&HostPattern::Any, &pattern, &Methods::default(), &rule("r"));
        assert_eq!(table.finish().is_ok(), good, "{source}");
        assert_eq!(good && find(&table, "GET", "h", "/X/abC").is_some(), good);
    }
}
