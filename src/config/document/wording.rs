//! What is wrong, in words for people: no type names, and no secrets.

use super::fault::{Found, Reason};
use super::inert::{clean, short};
use super::node::{Kind, Node, Step, spell};
use crate::mistake::Mistake;

/// The mistake that a node at a path is. The values of keys that sound secret are not repeated.
pub(crate) fn mistake(reason: &Reason, path: &[Step], node: &Node) -> Mistake {
    let name = name(path);
    let (what, remedy) = match reason {
        Reason::UnknownKey { key, known } => (format!("unknown key `{}`", short(key)), closest(key, known)),
        Reason::Missing(key) => (format!("the key `{key}` is missing"), format!("add `{key}: …` {}", place(path))),
        Reason::Unfit { found, wanted } => (format!("{name} is {}", found.words(path, node)), write_a(wanted)),
        Reason::UnknownChoice { found, known } => (format!("{name} is `{}`", short(found)), closest(found, known)),
        Reason::Other(words) => match (node.scalar(), words.split_once("; ")) {
            (_, Some((what, remedy))) => (format!("{name}: {}", clean(what)), clean(remedy)),
            (Some(text), None) => (format!("{name} is \"{}\": {}", short(text), clean(words)), String::new()),
            (None, None) => (format!("{name}: {}", clean(words)), String::new()),
        },
    };
    let about_value = !matches!(reason, Reason::UnknownKey { .. } | Reason::Missing(_) | Reason::Unfit { .. });
    if about_value && (sounds_secret(path) || node.shows_in(path, &what) || node.shows_in(path, &remedy)) {
        return Mistake::new(spell(path), format!("{name} cannot be used (its value is secret and not shown)"), "");
    }
    Mistake::new(spell(path), what, remedy)
}

/// `paths[1]` of `rules[3].paths[1]`.
fn name(path: &[Step]) -> String {
    let from = path.iter().rposition(|step| matches!(step, Step::Key(_))).unwrap_or(0);
    match path.get(from..) {
        None | Some([]) => "the file".to_owned(),
        Some(last) => format!("`{}`", short(&spell(last))),
    }
}

fn place(path: &[Step]) -> String {
    if path.is_empty() { "at the top".to_owned() } else { format!("to `{}`", short(&spell(path))) }
}

pub(crate) fn one_of(choices: &[&str]) -> String {
    let quoted: Vec<String> = choices.iter().map(|choice| format!("`{choice}`")).collect();
    match quoted.as_slice() {
        [] => "nothing".to_owned(),
        [only] => only.clone(),
        several => format!("one of {}", several.join(", ")),
    }
}

fn closest(given: &str, known: &[&str]) -> String {
    let near = known.iter().map(|known| (distance(given, known), known)).min();
    match near {
        Some((distance, known)) if distance <= 2 && distance.saturating_mul(2) <= known.len() => {
            format!("did you mean `{known}`?")
        }
        _ => format!("write {}", one_of(known)),
    }
}

/// How many letters to add, drop or change (Levenshtein), without regard to case.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (index, letter) in a.to_lowercase().chars().enumerate() {
        let mut left = index.saturating_add(1);
        let mut next = vec![left];
        for (other, pair) in b.iter().zip(row.windows(2)) {
            if let [diagonal, above] = pair {
                let change = diagonal.saturating_add(usize::from(letter != *other));
                left = change.min(above.saturating_add(1)).min(left.saturating_add(1));
                next.push(left);
            }
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

/// serde's words for what a type wants, in other words.
fn write_a(wanted: &str) -> String {
    let whole = |least: &str, most: u64| format!("write a whole number from {least} to {most}");
    match wanted {
        "u8" => whole("0", u8::MAX.into()),
        "u16" => whole("0", u16::MAX.into()),
        "u32" => whole("0", u32::MAX.into()),
        "a nonzero u8" => whole("1", u8::MAX.into()),
        "a nonzero u16" => whole("1", u16::MAX.into()),
        "a nonzero u32" => whole("1", u32::MAX.into()),
        "u64" | "u128" | "usize" => "write a whole number, 0 or more".to_owned(),
        "a nonzero u64" | "a nonzero u128" | "a nonzero usize" => "write a whole number, 1 or more".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => "write a whole number".to_owned(),
        "f32" | "f64" => "write a number".to_owned(),
        "a boolean" => "write `true` or `false`".to_owned(),
        "a string" | "path string" => "write text".to_owned(),
        "a character" => "write one letter".to_owned(),
        "unit" => "write nothing under it".to_owned(),
        "a map" => SECTION.to_owned(),
        "a sequence" => "write a list".to_owned(),
        _ if wanted.starts_with("struct ") => SECTION.to_owned(),
        _ if wanted.starts_with("tuple ") || wanted.starts_with("an array ") => "write a list".to_owned(),
        _ => format!("write {}", clean(wanted)),
    }
}

const SECTION: &str = "write a section of keys and values";

impl Found {
    /// Without the value where it is secret. Nor with a value of which the node is not the place: it
    /// is from somewhere inside, perhaps under a secret key.
    fn words(&self, path: &[Step], node: &Node) -> &str {
        let hide = sounds_secret(path) || node.scalar().is_none();
        self.hidden.filter(|_| hide).unwrap_or(&self.shown)
    }
}

/// Whether the last key, or one around it, names a secret. The name of a file or of a variable that
/// holds a secret is none.
fn sounds_secret(path: &[Step]) -> bool {
    let mut keys = path.iter().rev().filter_map(|step| match step {
        Step::Key(key) => Some(key.to_lowercase()),
        Step::Index(_) => None,
    });
    let names_place = |key: &String| key.ends_with("_file") || key.ends_with("_env");
    let is_secret = |key: String| ["secret", "password", "token", "key"].iter().any(|word| key.contains(word));
    match keys.next() {
        Some(last) if names_place(&last) => false,
        last => last.into_iter().chain(keys).any(is_secret),
    }
}

impl Node {
    /// Whether words repeat a secret of this node.
    fn shows_in(&self, path: &[Step], words: &str) -> bool {
        let below = |step: Step, node: &Self| node.shows_in(&[path, &[step]].concat(), words);
        match &self.kind {
            Kind::Null => false,
            Kind::Plain(text) | Kind::Text(text) => sounds_secret(path) && !text.is_empty() && words.contains(text),
            Kind::List(elements) => elements.iter().enumerate().any(|(index, node)| below(Step::Index(index), node)),
            Kind::Section(entries) => entries.iter().any(|entry| below(Step::Key(entry.key.clone()), &entry.value)),
        }
    }
}
