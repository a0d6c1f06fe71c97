//! Text from a file, made fit to be repeated in a message.

/// A value that fits in a log line, and cannot break it.
pub(crate) fn short(text: &str) -> String {
    cut(text, 60)
}

/// A sentence of which the same is true.
pub(crate) fn clean(text: &str) -> String {
    cut(text, 400)
}

fn cut(text: &str, most: usize) -> String {
    let start: String = text.chars().take(most).collect();
    let dots = if start.len() < text.len() { "…" } else { "" };
    let inert =
        |letter: char| if letter.is_control() { letter.escape_default().to_string() } else { letter.to_string() };
    start.chars().map(inert).chain([dots.to_owned()]).collect()
}
