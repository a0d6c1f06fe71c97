//! YAML text to a tree, bounded in size, depth and what its aliases grow to.

use std::fmt::{self, Formatter};

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::NonFiniteFloatPolicy;
use serde_saphyr::{Error, Location, MessageFormatter, Options, Spanned, UserMessageFormatter, budget};

use super::inert::short;
use super::node::{Entry, Kind, Node};
use crate::config::report::Origin;
use crate::mistake::Mistake;

/// Ten thousand rules of ten lines are well below it; a file above it is no configuration (a log or
/// a device, mounted by accident) and is refused before any memory goes into it.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// Far deeper than any setting, and shallow enough for the stack of a test thread.
const MAX_DEPTH: usize = 32;

type Failure = (Option<Origin>, Mistake);

/// Parses one document. A mistake without an origin is about the file as a whole.
pub(crate) fn parse(bytes: &[u8]) -> Result<Node, Failure> {
    if bytes.len() > MAX_BYTES {
        let what = format!("the file has {} bytes", bytes.len());
        return Err((None, Mistake::new("", what, format!("write at most {MAX_BYTES}"))));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| not_utf8(bytes, error.valid_up_to()))?;
    let spanned: Spanned<Bare> = serde_saphyr::from_str_with_options(text, options()).map_err(not_yaml)?;
    let mut root = node(spanned, text);
    if matches!(root.kind, Kind::Null) {
        root.kind = Kind::Section(Vec::new());
    }
    Ok(root)
}

fn options() -> Options {
    serde_saphyr::options! {
        // `yes`, `no`, `on` and `off` are text, as in YAML 1.2.
        strict_booleans: true,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        reject_unsupported_tags: true,
        with_snippet: false,
        emit_comments: false,
        budget: budget! { max_depth: MAX_DEPTH, flow_nesting_limit: MAX_DEPTH },
    }
}

/// What serde-saphyr tells of a value. Numbers and booleans are only marked: it reads `010` as ten
/// and `1_000` as a thousand, so what was written is taken from the text.
enum Bare {
    Null,
    Plain,
    Text(String),
    List(Vec<Spanned<Bare>>),
    Section(Vec<(Spanned<String>, Spanned<Bare>)>),
}

impl<'de> Deserialize<'de> for Bare {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BareVisitor)
    }
}

struct BareVisitor;

impl<'de> Visitor<'de> for BareVisitor {
    type Value = Bare;

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Bare, E> {
        Ok(Bare::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Bare, E> {
        Ok(Bare::Plain)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Bare, E> {
        Ok(Bare::Plain)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Bare, E> {
        Ok(Bare::Plain)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Bare, E> {
        Ok(Bare::Plain)
    }

    fn visit_str<E>(self, text: &str) -> Result<Bare, E> {
        Ok(Bare::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Bare, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = seq.next_element()? {
            elements.push(element);
        }
        Ok(Bare::List(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Bare, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Bare::Section(entries))
    }
}

/// The position is that of the definition: what an alias repeats is corrected there.
fn node(spanned: Spanned<Bare>, text: &str) -> Node {
    let kind = match spanned.value {
        Bare::Null => Kind::Null,
        Bare::Plain => Kind::Plain(written(&spanned.defined, text)),
        Bare::Text(text) => Kind::Text(text),
        Bare::List(elements) => Kind::List(elements.into_iter().map(|element| node(element, text)).collect()),
        Bare::Section(entries) => Kind::Section(entries.into_iter().map(|pair| entry(pair, text)).collect()),
    };
    Node::new(origin(&spanned.defined), kind)
}

fn entry((key, value): (Spanned<String>, Spanned<Bare>), text: &str) -> Entry {
    let origin = origin(&key.defined);
    let mut value = node(value, text);
    if matches!(value.kind, Kind::Null) {
        value.origin = origin.clone(); // nothing has no place of its own
    }
    Entry { key: key.value, origin, value }
}

/// The source text of a number or boolean; the quotes are those of `!!int "5"`.
fn written(at: &Location, text: &str) -> String {
    let span = at.span();
    let bytes = || {
        let start = usize::try_from(span.byte_offset()?).ok()?;
        let end = start.checked_add(usize::try_from(span.byte_len()?).ok()?)?;
        text.get(start..end)
    };
    bytes().unwrap_or_default().trim().trim_matches(['"', '\'']).to_owned()
}

fn origin(at: &Location) -> Origin {
    Origin::File { line: at.line(), column: at.column() }
}

fn not_utf8(bytes: &[u8], valid: usize) -> Failure {
    let text = String::from_utf8_lossy(bytes.get(..valid).unwrap_or_default());
    let column = text.rsplit('\n').next().map_or(0, |last| last.chars().count());
    let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX).saturating_add(1);
    let origin = Origin::File { line: number(text.matches('\n').count()), column: number(column) };
    (Some(origin), Mistake::new("", "this is no UTF-8 text", "save the file as UTF-8"))
}

fn not_yaml(mut error: Error) -> Failure {
    let origin = error.location().as_ref().map(origin);
    while let Error::AliasError { error: inner, .. } | Error::WithSnippet { error: inner, .. } = error {
        error = *inner;
    }
    let (what, remedy) = words(&error);
    (origin, Mistake::new("", what, remedy))
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library has words for its seventy errors; these need better ones"
)]
fn words(error: &Error) -> (String, &'static str) {
    let (what, remedy) = match error {
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            return (format!("the key `{}` is given twice", short(key)), "keep one of the two");
        }
        Error::MultipleDocuments { .. } => {
            ("a second document starts", "keep one document in a file, without `---` after it")
        }
        Error::UnknownAnchor { .. } => ("this alias has no anchor before it", "name an anchor that was set with `&`"),
        Error::RecursiveReferencesRequireWeakTypes { .. } => {
            ("this alias is inside of its own anchor", "write the value out")
        }
        Error::Budget { .. } => {
            ("the file is too large with its aliases written out, or nested too deeply", "write it smaller")
        }
        Error::UnsupportedTag { .. } => ("this tag is not known", "leave out what starts with `!`, or quote the text"),
        Error::NullIntoString { .. } => ("a key is empty", "write the key in quotes"),
        other => {
            return (
                format!("this is not YAML: {}", short(&UserMessageFormatter.format_message(other))),
                "correct it here",
            );
        }
    };
    (what.to_owned(), remedy)
}
