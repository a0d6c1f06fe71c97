//! The facts that a condition reads, each taken from the request or the token only when it is asked for.

use std::any::Any;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::OnceLock;

use cel::Env;
use cel::common::types::{CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt, Type};
use cel::common::value::{CowVal, StaticVal, Val};
use cel::context::VariableResolver;
use serde_json::Value;

use crate::policy::demand::Pattern as Regex;
use crate::policy::{Facts, Principal};

/// Most values of one claim, list of roles or path, those inside others counted: what a loop runs over, and what `in` compares.
/// Issuers that put groups into tokens stop at 200 (Entra ID). With [`super::check::MOST_LOOP_NODES`] it bounds a condition to some
/// thousand steps.
pub const MOST_VALUES: usize = 256;

/// One fact that a condition reads, or one pattern.
#[derive(Debug)]
pub(super) enum Slot {
    Method,
    Host,
    Path,
    Segments,
    Client,
    Time,
    Id,
    Issuer,
    Roles,
    Groups,
    Scopes,
    Tier,
    /// The claim at this path.
    Claim(Vec<Box<str>>),
    /// Whether there is a claim at this path.
    HasClaim(Vec<Box<str>>),
    Pattern(Pattern),
}

impl Slot {
    /// The fact of this name.
    pub(super) fn named(root: &str, field: &str) -> Option<Self> {
        Some(match (root, field) {
            ("request", "method") => Self::Method,
            ("request", "host") => Self::Host,
            ("request", "path") => Self::Path,
            ("request", "segments") => Self::Segments,
            ("request", "client") => Self::Client,
            ("request", "time") => Self::Time,
            ("principal", "id") => Self::Id,
            ("principal", "issuer") => Self::Issuer,
            ("principal", "roles") => Self::Roles,
            ("principal", "groups") => Self::Groups,
            ("principal", "scopes") => Self::Scopes,
            ("principal", "tier") => Self::Tier,
            _ => return None,
        })
    }

    /// The first name of the claim that it reads.
    pub(super) fn claim(&self) -> Option<&str> {
        match self {
            Self::Claim(path) | Self::HasClaim(path) => path.first().map(|name| &**name),
            Self::Method | Self::Host | Self::Path | Self::Segments | Self::Client | Self::Time => None,
            Self::Id | Self::Issuer | Self::Roles | Self::Groups | Self::Scopes | Self::Tier => None,
            Self::Pattern(_) => None,
        }
    }

    pub(super) fn is_of_principal(&self) -> bool {
        match self {
            Self::Id | Self::Issuer | Self::Roles | Self::Groups | Self::Scopes | Self::Tier => true,
            Self::Claim(_) | Self::HasClaim(_) => true,
            Self::Method | Self::Host | Self::Path | Self::Segments | Self::Client | Self::Time => false,
            Self::Pattern(_) => false,
        }
    }

    /// What it is now; nothing if it is absent or too large.
    fn value<'a>(&'a self, facts: &Facts<'a>) -> Option<Box<dyn Val + 'a>> {
        let (request, principal) = (facts.request, facts.principal);
        Some(match self {
            Self::Method => Box::new(CelString::from(request.method.as_str())),
            Self::Host => Box::new(CelString::from(request.host.as_str())),
            Self::Path => Box::new(CelString::from(request.path.as_str())),
            Self::Segments => list(request.path.segments().map(Cow::Borrowed))?,
            Self::Client => Box::new(CelString::from(request.client.to_string())),
            Self::Time => Box::new(CelInt::from(facts.now.secs())),
            Self::Id => Box::new(CelString::from(principal?.subject())),
            Self::Issuer => Box::new(CelString::from(principal?.issuer())),
            Self::Roles => list(principal?.roles())?,
            Self::Groups => list(principal?.groups())?,
            Self::Scopes => list(principal?.scopes())?,
            // Of a token that names none nobody can say which it is: the upstream is told the policy's default.
            Self::Tier => Box::new(CelString::from(principal?.tier()?)),
            Self::Claim(path) => {
                let (parents, name) = parents(path, principal?)?;
                let mut room = MOST_VALUES;
                converted(parents.get(name)?, &mut room)?
            }
            Self::HasClaim(path) => {
                let (parents, name) = parents(path, principal?)?;
                Box::new(CelBool::from(parents.contains_key(name)))
            }
            Self::Pattern(pattern) => Box::new(pattern.clone()),
        })
    }
}

/// The object that has or lacks the last name of `path`, and that name.
fn parents<'a>(
    path: &'a [Box<str>],
    principal: &'a Principal,
) -> Option<(&'a serde_json::Map<String, Value>, &'a str)> {
    let (name, parents) = path.split_last()?;
    let object = parents.iter().try_fold(principal.claims(), |object, name| object.get(&**name)?.as_object())?;
    Some((object, name))
}

fn list<'a>(items: impl Iterator<Item = Cow<'a, str>>) -> Option<Box<dyn Val + 'a>> {
    let items = items.map(|item| Box::new(CelString::from(item)) as Box<dyn Val + 'a>);
    let items: Vec<_> = items.take(MOST_VALUES.saturating_add(1)).collect();
    (items.len() <= MOST_VALUES).then(|| Box::new(CelList::from(items)) as Box<dyn Val + 'a>)
}

/// A JSON value as one of CEL, its texts borrowed; nothing if it holds more than `room` others.
fn converted<'a>(value: &'a Value, room: &mut usize) -> Option<Box<dyn Val + 'a>> {
    Some(match value {
        Value::Null => Box::new(CelNull),
        Value::Bool(bool) => Box::new(CelBool::from(*bool)),
        Value::String(text) => Box::new(CelString::from(text.as_str())),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Box::new(CelInt::from(number)),
            (None, Some(number)) => Box::new(CelUInt::from(number)),
            (None, None) => Box::new(CelDouble::from(number.as_f64()?)),
        },
        Value::Array(items) => {
            *room = room.checked_sub(items.len())?;
            let items: Option<Vec<_>> = items.iter().map(|item| converted(item, room)).collect();
            Box::new(CelList::from(items?))
        }
        Value::Object(members) => {
            *room = room.checked_sub(members.len())?;
            let members: Option<HashMap<_, _>> = members
                .iter()
                .map(|(name, value)| Some((CelMapKey::String(CelString::from(name.as_str())), converted(value, room)?)))
                .collect();
            Box::new(CelMap::from(members?))
        }
    })
}

/// The slots of one condition at one request, each read once at most.
pub(super) struct Frame<'a> {
    slots: &'a [Slot],
    facts: Facts<'a>,
    values: Vec<OnceLock<Option<Box<dyn Val + 'a>>>>,
}

impl<'a> Frame<'a> {
    pub(super) fn new(slots: &'a [Slot], facts: &Facts<'a>) -> Self {
        Self { slots, facts: *facts, values: slots.iter().map(|_| OnceLock::new()).collect() }
    }
}

impl VariableResolver for Frame<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        let number: usize = variable.strip_prefix('@')?.parse().ok()?;
        let slot = self.slots.get(number)?;
        if let Slot::Pattern(pattern) = slot {
            return Some(CowVal::Borrowed(pattern));
        }
        let value = self.values.get(number)?.get_or_init(|| slot.value(&self.facts));
        value.as_deref().map(CowVal::Borrowed)
    }
}

/// A pattern that was compiled when the policy was read.
#[derive(Debug, Clone)]
pub(super) struct Pattern(pub(super) Regex);

static PATTERN: Type = Type::new_unspecified_type("pattern");

impl Val for Pattern {
    fn get_type(&self) -> &Type {
        &PATTERN
    }

    fn cel_type() -> &'static Type {
        &PATTERN
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v> {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Pattern {}

/// Whether the whole text is what the pattern describes.
fn matches(text: &CelString<'_>, pattern: &Pattern) -> CelBool {
    CelBool::from(pattern.0.matches(text.inner()))
}

pub(super) fn add_matches(environment: &mut Env) {
    // It fails only for a name that is taken; `matches` is not, without the library's feature `regex`, and a test calls it.
    cel::add_overload!(environment, fn matches: (CelString, Pattern) -> CelBool, id = "matches_pattern").ok();
}
