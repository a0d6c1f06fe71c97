//! The tree: values that know where they were written.

use crate::config::report::Origin;

/// A value and where it was written. Not `Debug`: it may hold secrets.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) origin: Origin,
    pub(crate) kind: Kind,
    pub(crate) standing: Standing,
}

#[derive(Clone)]
pub(crate) enum Kind {
    Null,
    /// A scalar as it was written, whose type is that of the field it meets.
    Plain(String),
    /// A scalar that can only be text.
    Text(String),
    List(Vec<Node>),
    Section(Vec<Entry>),
}

#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) origin: Origin,
    pub(crate) value: Node,
}

/// What became of a node while its document was read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Written,
    /// Stands in for what was reported wrong or missing, and fits wherever a neutral value does.
    Filler,
    /// Reported, and passed over.
    Gone,
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

/// A path as people write it: `rules[3].paths[1]`.
pub(crate) fn spell(path: &[Step]) -> String {
    path.iter().fold(String::new(), |text, step| match step {
        Step::Key(key) if text.is_empty() => key.clone(),
        Step::Key(key) => format!("{text}.{key}"),
        Step::Index(index) => format!("{text}[{index}]"),
    })
}

impl Node {
    pub(crate) fn new(origin: Origin, kind: Kind) -> Self {
        Self { origin, kind, standing: Standing::Written }
    }

    pub(crate) fn filler(origin: Origin) -> Self {
        Self { origin, kind: Kind::Null, standing: Standing::Filler }
    }

    /// A filler that nothing was yet asked of.
    pub(crate) fn is_blank(&self) -> bool {
        self.standing == Standing::Filler && matches!(self.kind, Kind::Null)
    }

    /// The text of a scalar.
    pub(crate) fn scalar(&self) -> Option<&str> {
        match &self.kind {
            Kind::Plain(text) | Kind::Text(text) => Some(text),
            Kind::Null | Kind::List(_) | Kind::Section(_) => None,
        }
    }

    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        let Kind::Section(entries) = &self.kind else {
            return None;
        };
        entries.iter().find(|entry| entry.key == key)
    }

    /// Whether all of it is as it was written.
    pub(crate) fn is_pristine(&self) -> bool {
        self.standing == Standing::Written
            && match &self.kind {
                Kind::List(elements) => elements.iter().all(Self::is_pristine),
                Kind::Section(entries) => entries.iter().all(|entry| entry.value.is_pristine()),
                Kind::Null | Kind::Plain(_) | Kind::Text(_) => true,
            }
    }

    pub(crate) fn child(&self, step: &Step) -> Option<&Self> {
        match (&self.kind, step) {
            (Kind::List(elements), Step::Index(index)) => elements.get(*index),
            (Kind::Section(_), Step::Key(key)) => Some(&self.entry(key)?.value),
            _ => None,
        }
    }

    pub(crate) fn child_mut(&mut self, step: &Step) -> Option<&mut Self> {
        match (&mut self.kind, step) {
            (Kind::List(elements), Step::Index(index)) => elements.get_mut(*index),
            (Kind::Section(entries), Step::Key(key)) => {
                entries.iter_mut().find(|entry| entry.key == *key).map(|entry| &mut entry.value)
            }
            _ => None,
        }
    }

    /// The value of a key, which is null and from `origin` if there is none yet.
    pub(crate) fn key_or_new(&mut self, key: &str, origin: &Origin) -> Option<&mut Self> {
        if !matches!(self.kind, Kind::Section(_)) {
            self.origin = origin.clone();
            self.kind = Kind::Section(Vec::new());
        }
        let is_new = self.entry(key).is_none();
        let Kind::Section(entries) = &mut self.kind else {
            return None;
        };
        if is_new {
            let value = Self::new(origin.clone(), Kind::Null);
            entries.push(Entry { key: key.to_owned(), origin: origin.clone(), value });
        }
        entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.value)
    }

    /// The element of a list, likewise; the indexes come in their order.
    pub(crate) fn element_or_new(&mut self, index: usize, origin: &Origin) -> Option<&mut Self> {
        if !matches!(self.kind, Kind::List(_)) {
            *self = Self::new(origin.clone(), Kind::List(Vec::new()));
        }
        let Kind::List(elements) = &mut self.kind else {
            return None;
        };
        if index >= elements.len() {
            elements.push(Self::new(origin.clone(), Kind::Null));
        }
        elements.get_mut(index)
    }

    /// Where another tree says something else: the spelled paths of the deepest values that differ, or that one of them lacks.
    pub(crate) fn differing(&self, other: &Self, at: &mut Vec<Step>, found: &mut Vec<String>) {
        let steps: Vec<Step> = match (&self.kind, &other.kind) {
            (Kind::Section(ours), Kind::Section(theirs)) => {
                let new = theirs.iter().filter(|entry| self.entry(&entry.key).is_none());
                ours.iter().chain(new).map(|entry| Step::Key(entry.key.clone())).collect()
            }
            (Kind::List(ours), Kind::List(theirs)) => (0..ours.len().max(theirs.len())).map(Step::Index).collect(),
            (Kind::Null, Kind::Null) => return,
            (Kind::Plain(ours), Kind::Plain(theirs)) | (Kind::Text(ours), Kind::Text(theirs)) if ours == theirs => {
                return;
            }
            _ => return found.push(spell(at)),
        };
        for step in steps {
            let both = self.child(&step).zip(other.child(&step));
            at.push(step);
            match both {
                Some((ours, theirs)) => ours.differing(theirs, at, found),
                None => found.push(spell(at)),
            }
            at.pop();
        }
    }

    /// Whether what was read for a spelled path is as it was written: no filler stands in it or for it, and no element of a list
    /// on the way was passed over, which would shift its numbers.
    pub(crate) fn is_written_at(&self, path: &str) -> bool {
        let shifted = |node: &&Self| match &node.kind {
            Kind::List(elements) => elements.iter().any(|element| element.standing == Standing::Gone),
            Kind::Null | Kind::Plain(_) | Kind::Text(_) | Kind::Section(_) => false,
        };
        let trail = self.trail(path);
        !trail.iter().any(shifted) && trail.last().is_some_and(|node| node.is_pristine())
    }

    /// The deepest node on the way to a spelled path. A key may itself hold dots and brackets, so
    /// the keys that exist say where a step ends.
    pub(crate) fn nearest(&self, path: &str) -> &Self {
        self.trail(path).last().copied().unwrap_or(self)
    }

    /// The nodes on the way to a spelled path, as far as there are any.
    fn trail(&self, path: &str) -> Vec<&Self> {
        let mut trail = vec![self];
        let mut rest = path;
        while let Some((node, more)) = trail.last().and_then(|node| node.step(rest)) {
            trail.push(node);
            rest = more;
        }
        trail
    }

    /// The child that a spelled path goes to next, and the rest of the path.
    fn step<'p>(&self, path: &'p str) -> Option<(&Self, &'p str)> {
        let path = path.strip_prefix('.').unwrap_or(path);
        match &self.kind {
            Kind::List(elements) => path
                .strip_prefix('[')
                .and_then(|rest| rest.split_once(']'))
                .and_then(|(index, rest)| Some((elements.get(index.parse::<usize>().ok()?)?, rest))),
            Kind::Section(entries) => entries
                .iter()
                .filter_map(|entry| Some((entry, path.strip_prefix(entry.key.as_str())?)))
                .filter(|(_, rest)| rest.is_empty() || rest.starts_with(['.', '[']))
                .min_by_key(|(_, rest)| rest.len())
                .map(|(entry, rest)| (&entry.value, rest)),
            Kind::Null | Kind::Plain(_) | Kind::Text(_) => None,
        }
    }
}
