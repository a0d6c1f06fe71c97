//! What a stranger wrote, for a terminal: nothing in it moves the cursor, changes colours or turns the direction of writing.

use std::fmt::Write as _;

use serde::Serialize;

/// The JSON of a value, in which every character that is no letter, digit or visible ASCII is escaped as JSON does.
pub(super) fn json(value: &impl Serialize) -> String {
    printable(&serde_json::to_string(value).unwrap_or_default())
}

/// The same over several lines.
pub(super) fn pretty(value: &impl Serialize) -> String {
    printable(&serde_json::to_string_pretty(value).unwrap_or_default())
}

/// In JSON, what is escaped here stands within texts only; line breaks stand outside of them only.
fn printable(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if matches!(c, '\n' | ' '..='~') || c.is_alphanumeric() {
            text.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(text, "\\u{unit:04x}").ok();
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn nothing_but_visible_characters_is_left_and_the_meaning_stays() {
        let hostile =
            json!({"\u{1b}[2J": "a\u{9b}31m\u{7f}\u{202e}\u{2028}\u{200b}\u{1f4a9}\u{e000}\r\n\t\u{0}", "é": "日\"\\"});
        for text in [json(&hostile), pretty(&hostile)] {
            let visible = |c: char| c == '\n' || c == ' ' || c.is_ascii_graphic() || c.is_alphanumeric();
            assert!(text.chars().all(visible), "{text:?}");
            assert_eq!(serde_json::from_str::<Value>(&text).ok(), Some(hostile.clone()), "{text}");
            assert!(text.contains('é') && text.contains('日'));
        }
    }
}
