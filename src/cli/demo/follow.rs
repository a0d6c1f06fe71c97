//! Shows audit lines to a person: one coloured line each.

use std::io::{self, Write};

use serde_json::Value;

/// Turns audit lines into coloured ones.
pub(super) struct Follow<W>(W);

impl<W: Write> Follow<W> {
    pub(super) fn new(out: W) -> Self {
        Self(out)
    }
}

impl<W: Write> Write for Follow<W> {
    /// The audit log hands over whole lines.
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match serde_json::from_slice(line) {
                Ok(record) => writeln!(self.0, "{}", coloured(&record))?,
                Err(_) => self.0.write_all(line)?,
            }
        }
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

fn coloured(record: &Value) -> String {
    let text = |name: &str| record.get(name).and_then(Value::as_str).unwrap_or("-");
    let number = |name: &str| record.get(name).and_then(Value::as_u64).unwrap_or_default();
    let colour = if text("decision") == "allow" { 32 } else { 31 };
    let time = text("time").get(11..23).unwrap_or_default();
    format!(
        "{time} \x1b[{colour}m{:5} {}\x1b[0m {:7} {} {}{}  \x1b[2m{} rule={} subject={} {}us{}\x1b[0m",
        text("decision"),
        number("status"),
        text("dialect"),
        text("method"),
        text("host"),
        text("path").escape_debug(),
        text("reason"),
        text("rule"),
        text("subject").escape_debug(),
        number("us"),
        record.get("limit").and_then(Value::as_str).map(|limit| format!(" limit={limit}")).unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_audit_line_is_one_line_with_the_decision() {
        let mut out = Vec::new();
        let lines = b"{\"time\":\"2026-01-01T10:11:12.123456Z\",\"decision\":\"deny\",\"reason\":\"no_rule\",\"status\":403,\"path\":\"/x\\u001b[0m\"}\n{\"decision\":\"allow\"}\n";
        Follow::new(&mut out).write_all(lines).expect("vec");
        let text = String::from_utf8(out).expect("utf-8");
        assert_eq!(text.lines().count(), 2);
        assert!(text.starts_with("10:11:12.123 \x1b[31mdeny  403\x1b[0m") && text.contains("no_rule"), "{text}");
        assert!(text.contains("/x\\u{1b}[0m"), "a logged path moves no cursor: {text}");
    }
}
