//! What demands are judged on, for lines that are to be judged again by another policy.

use serde_json::Value;

use super::string;
use crate::policy::Principal;
use crate::policy::identity::from_wire;

/// Appends the member `principal`. Of `claims` each stands there, with null if the principal has none of that name: so whoever
/// reads the line knows what was looked at.
pub(super) fn write(line: &mut Vec<u8>, principal: &Principal, claims: &[Box<str>]) {
    line.extend_from_slice(b",\"principal\":{\"roles\":");
    list(line, principal.wire_roles());
    line.extend_from_slice(b",\"groups\":");
    list(line, principal.wire_groups());
    line.extend_from_slice(b",\"scopes\":");
    list(line, principal.wire_scopes());
    line.extend_from_slice(b",\"tier\":");
    match principal.wire_tier() {
        None => line.extend_from_slice(b"null"),
        Some(tier) => string(line, &from_wire(tier)),
    }
    line.extend_from_slice(b",\"claims\":");
    let found = |name: &str| principal.claims().get(name).unwrap_or(&Value::Null);
    object(line, claims.iter().map(|name| (&**name, found(name))));
    line.push(b'}');
}

/// A list in the encoding of identity headers.
fn list(line: &mut Vec<u8>, wire: &str) {
    sequence(line, wire.split(',').filter(|item| !item.is_empty()), |line, item| string(line, &from_wire(item)));
}

fn sequence<T>(line: &mut Vec<u8>, items: impl Iterator<Item = T>, write: impl Fn(&mut Vec<u8>, T)) {
    line.push(b'[');
    for (i, item) in items.enumerate() {
        if i > 0 {
            line.push(b',');
        }
        write(line, item);
    }
    line.push(b']');
}

fn object<'v>(line: &mut Vec<u8>, members: impl Iterator<Item = (&'v str, &'v Value)>) {
    line.push(b'{');
    for (i, (name, value)) in members.enumerate() {
        if i > 0 {
            line.push(b',');
        }
        string(line, name);
        line.push(b':');
        json(line, value);
    }
    line.push(b'}');
}

/// By hand because texts are escaped as in the rest of the line: more than JSON demands.
fn json(line: &mut Vec<u8>, value: &Value) {
    match value {
        Value::String(text) => string(line, text),
        Value::Array(items) => sequence(line, items.iter(), json),
        Value::Object(members) => object(line, members.iter().map(|(name, value)| (name.as_str(), value))),
        Value::Null | Value::Bool(_) | Value::Number(_) => line.extend_from_slice(value.to_string().as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_looked_at_is_told_and_nothing_moves_a_terminal() {
        let evil = "a,b\u{1b}[2J\u{202e}%\"";
        let claims = json!({"dept": evil, "deep": {evil: [1, 2.5, true, null, evil]}});
        let claims = claims.as_object().cloned().expect("an object");
        let principal = Principal::new("i", "alice", [evil, "user"], [], ["read"], Some("pro plus"), claims.clone());
        let names = ["absent", "deep", "dept"].map(Box::from);
        let mut line = Vec::new();
        write(&mut line, &principal, &names);
        let text = String::from_utf8(line).expect("utf-8");
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
        let line: Value = serde_json::from_str(&format!("{{\"x\":0{text}}}")).expect("JSON");
        let wanted = json!({
            "roles": [evil, "user"], "groups": [], "scopes": ["read"], "tier": "pro plus",
            "claims": {"absent": null, "deep": claims["deep"], "dept": evil},
        });
        assert_eq!(line["principal"], wanted);
    }
}
