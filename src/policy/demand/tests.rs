use serde_json::{Value, json};

use super::*;
use crate::clock::UnixTime;
use crate::policy::{CanonicalPath, Host, Method, RequestFacts};

/// Monday, 2026-11-23, 12:00 UTC.
const MONDAY_NOON: i64 = 1_795_435_200;

fn principal() -> Principal {
    let claims = json!({
        "tenant": "acme", "level": 3, "groups": ["a", "user,admin"], "nothing": null, "auth_time": MONDAY_NOON - 600,
        "acr": "gold", "amr": ["pwd", "otp"], "email": "Ann@Example.com", "email_verified": true,
    });
    let claims = claims.as_object().cloned().expect("object");
    Principal::new("main", "s", ["user", "x,admin"], ["staff", "a,root"], ["read"], None, claims)
}

fn judge(demand: &Value, principal: Option<&Principal>, now: UnixTime) -> Result<(), Fault> {
    let policy = json!({"rules": [{"id": "r", "hosts": ["h"], "paths": ["/"], "allow": demand}]});
    let file = serde_json::from_value(policy).expect("shape");
    let policy = crate::policy::Policy::compile(&file).unwrap_or_else(|mistakes| panic!("{demand}: {mistakes:?}"));
    let request = RequestFacts {
        rule_set: None,
        preflight: None,
        method: Method::parse(b"GET").expect("method"),
        host: Host::parse(b"h").expect("host"),
        path: CanonicalPath::parse(b"/").expect("path"),
        client: [192, 0, 2, 7].into(),
    };
    let rule = policy.route(&request).expect("rule");
    let facts = Facts { request: &request, principal, now };
    let outcome = rule.access.demands.iter().try_for_each(|demand| demand.check(&facts));
    for demand in &rule.access.demands {
        assert_eq!(demand.trace(&facts).outcome, demand.check(&facts));
        assert!(!demand.to_string().is_empty());
    }
    outcome
}

#[test]
fn each_demand_is_met_or_names_its_reason() {
    let claim = |test: Value| json!({"claims": [test]});
    let table = [
        (json!({"roles": {"any": ["admin", "user"]}}), None),
        (json!({"roles": {"any": ["admin"]}}), Some(Reason::MissingRole)),
        (json!({"roles": {"all": ["user", "admin"]}}), Some(Reason::MissingRole)),
        (json!({"roles": {"all": ["user"]}}), None),
        (json!({"groups": {"any": ["staff"]}}), None),
        (json!({"groups": {"any": ["root"]}}), Some(Reason::MissingGroup)),
        (json!({"scopes": {"any": ["write"]}}), Some(Reason::MissingScope)),
        (json!({"scopes": {"all": ["read"]}}), None),
        (json!({"scopes": {"all": ["read", "write"]}}), Some(Reason::MissingScope)),
        (claim(json!({"claim": "tenant", "equals": "acme"})), None),
        (claim(json!({"claim": "tenant", "equals": "ACME"})), Some(Reason::ClaimMismatch)),
        (claim(json!({"claim": "level", "in": [2, 3]})), None),
        (claim(json!({"claim": "level", "in": ["3"]})), Some(Reason::ClaimMismatch)),
        (claim(json!({"claim": "groups", "contains": "a"})), None),
        (claim(json!({"claim": "groups", "contains": "admin"})), Some(Reason::ClaimMismatch)),
        (claim(json!({"claim": "tenant", "exists": true})), None),
        (claim(json!({"claim": "nothing", "exists": true})), Some(Reason::ClaimMismatch)),
        (claim(json!({"claim": "none", "exists": false})), None),
        (claim(json!({"claim": "tenant", "matches": "ac.e"})), None),
        (claim(json!({"claim": "tenant", "matches": "cm"})), Some(Reason::ClaimMismatch)),
        (claim(json!({"claim": "tenant", "matches": "x|a"})), Some(Reason::ClaimMismatch)),
        (claim(json!({"claim": "level", "matches": "3"})), Some(Reason::ClaimMismatch)),
        (json!({"issuers": ["other", "main"]}), None),
        (json!({"issuers": ["other"]}), Some(Reason::IssuerNotAllowed)),
        (json!({"networks": ["10.0.0.0/8", "192.0.2.0/24"]}), None),
        (json!({"networks": ["10.0.0.0/8"]}), Some(Reason::ClientNotAllowed)),
        (json!({"fresh": {"max_age": "10m"}}), None),
        (json!({"fresh": {"max_age": "599s"}}), Some(Reason::InsufficientUserAuthentication)),
        (json!({"fresh": {"acr": ["silver", "gold"]}}), None),
        (json!({"fresh": {"acr": ["silver"]}}), Some(Reason::InsufficientUserAuthentication)),
        (json!({"fresh": {"amr": {"all": ["pwd", "otp"]}}}), None),
        (json!({"fresh": {"amr": {"any": ["hwk"]}}}), Some(Reason::InsufficientUserAuthentication)),
        (json!({"email": {"domains": ["example.com"]}}), None),
        (json!({"email": {"domains": ["example.org"]}}), Some(Reason::EmailMismatch)),
        (json!({"from": "2026-11-23T12:00:00Z"}), None),
        (json!({"until": "2026-11-23T12:00:00Z"}), Some(Reason::OutsideTimes)),
        (json!({"any": [{"roles": {"any": ["admin"]}}, {"scopes": {"any": ["read"]}}]}), None),
        (json!({"any": [{"scopes": {"any": ["x"]}}, {"roles": {"any": ["y"]}}]}), Some(Reason::MissingScope)),
        (json!({"all": [{"scopes": {"any": ["read"]}}, {"roles": {"any": ["y"]}}]}), Some(Reason::MissingRole)),
        (json!({"when": "claims.tenant == 'acme' && request.host == 'h'"}), None),
        (json!({"when": "claims.tenant == 'umbrella'"}), Some(Reason::ConditionFalse)),
        (json!({"not": {"when": "claims.tenant == 'umbrella'"}}), None),
        (json!({"not": {"roles": {"any": ["banned"]}}}), None),
        (json!({"not": {"roles": {"any": ["user"]}}}), Some(Reason::Excluded)),
        (json!({"not": {"roles": {"any": ["user"]}, "groups": {"any": ["nobody"]}}}), None),
    ];
    for (demand, wanted) in table {
        let outcome = judge(&demand, Some(&principal()), UnixTime::from_secs(MONDAY_NOON));
        assert_eq!(outcome, wanted.map_or(Ok(()), |reason| Err(Fault::Unmet(reason))), "{demand}");
    }
}

#[test]
fn t_d6_a_list_inside_one_value_is_one_value() {
    let now = UnixTime::from_secs(MONDAY_NOON);
    for demand in [json!({"roles": {"any": ["admin"]}}), json!({"groups": {"any": ["root"]}})] {
        assert!(judge(&demand, Some(&principal()), now).is_err(), "{demand}");
    }
}

#[test]
fn of_strangers_it_is_a_credential_that_lacks() {
    let now = UnixTime::from_secs(MONDAY_NOON);
    let staff = json!({"roles": {"any": ["user"]}});
    let of_strangers = |demand: Value| {
        let mut demand = demand;
        demand["who"] = "optional".into();
        judge(&demand, None, now)
    };
    assert_eq!(of_strangers(staff.clone()), Err(Fault::Unmet(Reason::NoCredential)));
    let inside = json!({"any": [staff.clone(), {"networks": ["192.0.2.0/24"]}]});
    assert_eq!(of_strangers(inside), Ok(()));
    let outside = json!({"any": [staff, {"networks": ["10.0.0.0/8"]}]});
    assert_eq!(of_strangers(outside), Err(Fault::Unmet(Reason::NoCredential)));
    let no_banned = json!({"not": {"roles": {"any": ["banned"]}}});
    assert_eq!(of_strangers(no_banned), Ok(()));
}

#[test]
fn hours_are_those_of_the_time_zone_and_night_belongs_to_the_evening() {
    let at = |text: &str| UnixTime::from_micros(text.parse::<jiff::Timestamp>().expect("moment").as_microsecond());
    let held = |times: &Value, moment: &str| judge(&json!({"times": [times]}), Some(&principal()), at(moment)).is_ok();
    let berlin = json!({"days": ["mon"], "from": "08:00", "to": "18:00", "zone": "Europe/Berlin"});
    for (moment, wanted) in [
        ("2026-11-23T06:59:59Z", false),
        ("2026-11-23T07:00:00Z", true),
        ("2026-11-23T16:59:59Z", true),
        ("2026-11-23T17:00:00Z", false),
        ("2026-11-24T08:00:00Z", false),
        // In summer the same hours begin an hour earlier.
        ("2026-07-20T06:00:00Z", true),
        ("2026-07-20T16:00:00Z", false),
    ] {
        assert_eq!(held(&berlin, moment), wanted, "{moment}");
    }
    let night = json!({"days": ["fri"], "from": "22:00", "to": "06:00"});
    for (moment, wanted) in [
        ("2026-11-20T21:59:59Z", false),
        ("2026-11-20T22:00:00Z", true),
        ("2026-11-21T05:59:59Z", true),
        ("2026-11-21T06:00:00Z", false),
        ("2026-11-21T22:00:00Z", false),
        ("2026-11-20T05:00:00Z", false),
    ] {
        assert_eq!(held(&night, moment), wanted, "{moment}");
    }
}

#[test]
fn a_sign_in_of_the_future_or_of_no_known_time_is_not_fresh() {
    let now = UnixTime::from_secs(MONDAY_NOON);
    let signed_in = |at: Value| {
        let claims = json!({"auth_time": at}).as_object().cloned().expect("object");
        let principal = Principal::new("main", "s", [], [], [], None, claims);
        judge(&json!({"fresh": {"max_age": "1h"}}), Some(&principal), now).is_ok()
    };
    assert!(signed_in(MONDAY_NOON.into()) && signed_in((MONDAY_NOON + 59).into()));
    for at in [(MONDAY_NOON + 61).into(), i64::MAX.into(), "now".into(), Value::Null, json!(true), i64::MIN.into()] {
        assert!(!signed_in(at.clone()), "{at}");
    }
}

#[test]
fn t_f12_only_one_plain_verified_address_of_exactly_that_domain_counts() {
    let now = UnixTime::from_secs(MONDAY_NOON);
    let is_in = |email: Value, verified: Value| {
        let claims = json!({"email": email, "email_verified": verified}).as_object().cloned().expect("object");
        let principal = Principal::new("main", "s", [], [], [], None, claims);
        judge(&json!({"email": {"domains": ["company.com"]}}), Some(&principal), now).is_ok()
    };
    for good in ["ann@company.com", "a.b+c@COMPANY.com", "o'neil@Company.Com"] {
        assert!(is_in(good.into(), true.into()), "{good}");
    }
    for verified in [json!(false), json!("true"), json!(1), Value::Null] {
        assert!(!is_in("ann@company.com".into(), verified.clone()), "{verified}");
    }
    for bad in [
        "attacker@evil.com@company.com",
        "\"a@evil.com\"@company.com",
        "\"a\"@company.com",
        "a@company.com.",
        "a@sub.company.com",
        "a@evilcompany.com",
        "a@company.com.evil.com",
        "a@company\u{3002}com",
        "a@compan\u{443}.com",
        "a@company.com\n",
        " a@company.com",
        "a (c)@company.com",
        "<a@company.com>",
        "a@company.com,b@evil.com",
        "a@company.com b@evil.com",
        "@company.com",
        "company.com",
        "a\u{0}@company.com",
        "",
    ] {
        assert!(!is_in(bad.into(), true.into()), "{bad}");
    }
    assert!(!is_in(json!(["ann@company.com"]), true.into()));
}

#[test]
fn a_condition_without_an_answer_refuses_and_so_does_its_opposite() {
    let now = UnixTime::from_secs(MONDAY_NOON);
    let broken = Err(Fault::Broken(Reason::ConditionFailed));
    let when = json!({"when": "claims.none == 1"});
    let known = json!({"roles": {"any": ["user"]}});
    for demand in
        [when.clone(), json!({"not": when}), json!({"any": [when, known]}), json!({"when": "claims.level < 'a'"})]
    {
        assert_eq!(judge(&demand, Some(&principal()), now), broken, "{demand}");
    }
    assert_eq!(judge(&json!({"any": [known, when]}), Some(&principal()), now), Ok(()), "what is met first decides");
    let when = json!({"who": "optional", "when": "claims.tenant == 'acme'"});
    assert_eq!(judge(&when, None, now), Err(Fault::Unmet(Reason::NoCredential)));
}
