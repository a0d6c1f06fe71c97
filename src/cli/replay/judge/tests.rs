use serde_json::{Value, json};

use super::*;
use crate::policy::PolicyFile;

fn policy(allow: Value, credentials: &[&str]) -> Policy {
    let rules = json!({"rules": [
        {"id": "open", "hosts": ["h"], "paths": ["/open"], "allow": "anonymous"},
        {"id": "rule", "hosts": ["h"], "paths": ["/a/**"], "allow": allow, "credentials": credentials},
    ]});
    let file: PolicyFile = serde_json::from_value(rules).expect("a policy");
    Policy::compile(&file).expect("a good policy")
}

/// The same for whoever is let in without a look at credentials.
fn open() -> Policy {
    let rules = json!({"rules": [{"id": "rule", "hosts": ["h"], "paths": ["/**"], "allow": "anonymous"}]});
    Policy::compile(&serde_json::from_value(rules).expect("a policy")).expect("a good policy")
}

fn line(changes: Value) -> Line {
    let mut line = json!({
        "time": "2025-11-20T12:00:00.5Z", "decision": "allow", "reason": "allowed", "rule": "rule", "subject": "alice", "issuer": "shop",
        "method": "GET", "host": "h", "path": "/a/7", "client": "192.0.2.1", "step": "validate", "us": 7, "dialect": "envoy",
    });
    line.as_object_mut().expect("an object").extend(changes.as_object().expect("changes").clone());
    Line::read(line.to_string().as_bytes()).unwrap_or_else(|| panic!("{line}"))
}

fn recorded(roles: &[&str], claims: Value) -> Line {
    let principal = json!({"roles": roles, "groups": [], "scopes": [], "tier": null, "claims": claims});
    line(json!({"principal": principal}))
}

fn refused(reason: &str) -> Line {
    line(json!({"decision": "deny", "reason": reason, "subject": null, "issuer": null}))
}

const BOTH: &[&str] = &["bearer", "cookie"];

fn judged(outcome: Result<(), Reason>) -> Verdict {
    Verdict::Judged(outcome, Some("rule".to_owned()))
}

fn unknown(why: &'static str) -> Verdict {
    Verdict::Unknown(Some("rule".to_owned()), why)
}

#[test]
fn whoever_was_recorded_is_judged_by_all_that_he_has() {
    let current = policy(json!({"roles": {"any": ["user"]}}), BOTH);
    let stricter = policy(json!({"roles": {"any": ["admin"]}}), BOTH);
    let verdict = |line: &Line, candidate: &Policy| judge(line, candidate, &current);
    assert_eq!(verdict(&recorded(&["user"], json!({})), &stricter), judged(Err(Reason::MissingRole)));
    assert_eq!(verdict(&recorded(&["user", "admin"], json!({})), &stricter), judged(Ok(())));
    // A claim counts only if it was looked at; that there is none is known then, too.
    let by_claim = policy(json!({"claims": [{"claim": "dept.name", "equals": "a"}]}), BOTH);
    assert_eq!(verdict(&recorded(&[], json!({})), &by_claim), unknown(CLAIMS));
    assert_eq!(verdict(&recorded(&[], json!({"dept": null})), &by_claim), judged(Err(Reason::ClaimMismatch)));
    assert_eq!(verdict(&recorded(&[], json!({"dept": {"name": "a"}})), &by_claim), judged(Ok(())));
}

#[test]
fn whoever_was_not_is_judged_by_the_rule_alone_or_not_at_all() {
    let (user, admin) = (json!({"roles": {"any": ["user"]}}), json!({"roles": {"any": ["admin"]}}));
    let current = policy(user.clone(), BOTH);
    let verdict = |line: &Line, candidate: &Policy| judge(line, candidate, &current);
    assert_eq!(verdict(&line(json!({})), &policy(user, BOTH)), Verdict::ByRule);
    assert_eq!(verdict(&line(json!({})), &policy(admin.clone(), BOTH)), unknown(ASKER));
    // What asks for nobody's roles can be judged.
    assert_eq!(verdict(&line(json!({})), &policy(json!("authenticated"), BOTH)), judged(Ok(())));
    let elsewhere = policy(json!({"networks": ["10.0.0.0/8"]}), BOTH);
    assert_eq!(verdict(&line(json!({})), &elsewhere), judged(Err(Reason::ClientNotAllowed)));
    let later = policy(json!({"until": "2025-11-20T12:00:00Z"}), BOTH);
    assert_eq!(verdict(&line(json!({})), &later), judged(Err(Reason::OutsideTimes)), "the time is that of the line");
    // Half a check looks at no demands.
    assert_eq!(verdict(&line(json!({"step": "authn"})), &policy(admin, BOTH)), judged(Ok(())));
}

#[test]
fn a_credential_that_was_refused_stays_so_unless_none_is_looked_at() {
    let current = policy(json!("authenticated"), BOTH);
    for reason in ["expired", "revoked", "doubled_credential", "keys_unavailable", "no_credential"] {
        let (line, was) = (refused(reason), Reason::ALL.iter().find(|own| own.code() == reason).expect("a reason"));
        let same = policy(json!({"roles": {"any": ["admin"]}}), BOTH);
        assert_eq!(judge(&line, &same, &current), judged(Err(*was)), "{reason}");
        assert_eq!(judge(&line, &open(), &current), judged(Ok(())), "{reason}");
        assert_eq!(judge(&line, &policy(json!("authenticated"), &["cookie"]), &current), unknown(KINDS), "{reason}");
    }
    // Who shows nothing is let in by a rule that needs nothing.
    assert_eq!(judge(&refused("no_credential"), &policy(json!("optional"), BOTH), &current), judged(Ok(())));
    assert_eq!(
        judge(&refused("expired"), &policy(json!("optional"), BOTH), &current),
        judged(Err(Reason::Expired)),
        "what does not hold is refused"
    );
}

#[test]
fn of_whom_nobody_looked_at_nothing_is_pretended() {
    let (current, candidate) = (open(), policy(json!("authenticated"), BOTH));
    let stranger = line(json!({"subject": null, "issuer": null}));
    assert_eq!(judge(&stranger, &candidate, &current), unknown(STRANGER));
    let no_rule = line(json!({"decision": "deny", "reason": "no_rule", "rule": null, "subject": null, "issuer": null}));
    assert_eq!(judge(&no_rule, &candidate, &policy(json!("optional"), BOTH)), unknown(STRANGER));
    // A stranger whom a rule let in knowingly is one.
    let current = policy(json!("optional"), BOTH);
    assert_eq!(judge(&stranger, &candidate, &current), judged(Err(Reason::NoCredential)));
    // Another policy decided than the settings name.
    let other = line(json!({"rule": "another"}));
    assert_eq!(judge(&other, &candidate, &current), unknown(ANOTHER));
    // What could not be read, no policy sees; what no rule names, no credential helps.
    let unread =
        line(json!({"decision": "deny", "reason": "ambiguous_path", "rule": null, "subject": null, "issuer": null,
        "method": null, "host": null, "path": null, "client": null, "step": null}));
    assert_eq!(judge(&unread, &candidate, &current), Verdict::Judged(Err(Reason::AmbiguousPath), None));
    assert_eq!(judge(&line(json!({"path": "/b"})), &candidate, &current), Verdict::Judged(Err(Reason::NoRule), None));
    let set = line(json!({"rule_set": "x"}));
    assert_eq!(judge(&set, &candidate, &current), Verdict::Judged(Err(Reason::UnknownRuleSet), None));
}

/// Neither whose it was nor what it announced is in the line.
#[test]
fn of_what_may_have_been_a_preflight_nothing_is_pretended() {
    let without = policy(json!("authenticated"), BOTH);
    let options = line(json!({"method": "OPTIONS", "subject": null, "issuer": null}));
    assert_eq!(judge(&options, &without, &without), Verdict::Judged(Err(Reason::NoRule), None));
    let rules = json!({"rules": [{"id": "rule", "hosts": ["h"], "paths": ["/a/**"], "methods": ["GET"], "allow": "authenticated",
        "cors": {"origins": ["https://app.test"]}}]});
    let with = Policy::compile(&serde_json::from_value(rules).expect("a policy")).expect("a good policy");
    assert_eq!(judge(&options, &with, &without), Verdict::Unknown(None, PREFLIGHT));
    assert_eq!(judge(&options, &without, &with), Verdict::Unknown(None, PREFLIGHT));
}
