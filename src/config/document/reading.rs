//! Reading past mistakes, to find the others.
//!
//! serde stops at the first error. So what is wrong is recorded and replaced by a filler (an unknown
//! key is passed over), and the tree is read again, until it reads. What goes wrong only because of
//! a filler is no mistake of the file: the filler is passed over too, and if that does not help
//! either, the section around it becomes a filler. Every round moves a node one step along
//! written, filler, gone, so the rounds end.

use serde::de::DeserializeOwned;

use super::fault::{Fault, Reason};
use super::node::{Kind, Node, Standing, Step};
use super::wording;
use crate::config::report::Origin;
use crate::mistake::Mistake;

/// More than anybody corrects in one go.
const MAX_MISTAKES: usize = 100;
/// A bound on the work of a hostile file: a mistake takes about three rounds.
const MAX_ROUNDS: usize = 4 * MAX_MISTAKES;

/// What was read, and what was found wrong on the way.
pub(crate) struct Past<T> {
    /// With fillers where something is wrong; none if even that could not be read.
    pub(crate) value: Option<T>,
    /// The tree with these fillers.
    pub(crate) tree: Node,
    /// Every mistake of form.
    pub(crate) found: Vec<(Origin, Mistake)>,
}

pub(crate) fn read_past<T: DeserializeOwned>(root: &Node) -> Past<T> {
    let mut reading = Reading { tree: root.clone(), found: Vec::new() };
    let mut value = None;
    for _ in 0..MAX_ROUNDS {
        match T::deserialize(&reading.tree) {
            Ok(read) => {
                value = Some(read);
                break;
            }
            Err(fault) => {
                if !reading.amend(fault) || reading.found.len() >= MAX_MISTAKES {
                    break;
                }
            }
        }
    }
    Past { value, tree: reading.tree, found: reading.found }
}

struct Reading {
    tree: Node,
    found: Vec<(Origin, Mistake)>,
}

impl Reading {
    /// Records what is wrong and makes the tree read a little further; `false` if it cannot.
    fn amend(&mut self, fault: Fault) -> bool {
        let Fault { trail, mut on_key, mut reason } = fault;
        let mut path: Vec<Step> = trail.into_iter().rev().collect();
        if let Reason::UnknownChoice { found, known } = &reason
            && on_key
        {
            reason = Reason::UnknownKey { key: found.clone(), known };
        } else if let Reason::UnknownKey { key, .. } = &reason
            && !on_key
        {
            path.push(Step::Key(key.clone())); // in a section that serde had copied
            on_key = true;
        }
        let whole = self.tree.reach(&path) == path.len();
        path.truncate(self.tree.reach(&path));
        let key_origin = self.tree.key_origin(&path);
        let Some(node) = self.tree.at_mut(&path) else { return false };
        let is_written = node.standing == Standing::Written;
        let is_key = on_key && whole;
        let origin = if is_key { key_origin } else { node.origin.clone() };
        let mistake = wording::mistake(&reason, &path, node);
        if let Reason::Missing(key) = reason
            && whole
            && node.take_filler(key)
        {
            if !is_written {
                return true; // asked of a filler
            }
        } else if is_key && is_written {
            node.standing = Standing::Gone;
        } else if node.is_pristine() {
            *node = Node::filler(origin.clone());
        } else {
            return self.give_up(&path);
        }
        self.found.push((origin, mistake));
        true
    }

    /// The node does not read because of fillers in it.
    fn give_up(&mut self, path: &[Step]) -> bool {
        let Some(node) = self.tree.at_mut(path) else {
            return false;
        };
        match node.standing {
            Standing::Written => *node = Node::filler(node.origin.clone()),
            Standing::Filler if path.is_empty() => return false,
            Standing::Filler => node.standing = Standing::Gone,
            Standing::Gone => return false,
        }
        true
    }
}

impl Node {
    /// How many steps of a path lead to a node.
    fn reach(&self, path: &[Step]) -> usize {
        let mut node = Some(self);
        let there = |step: &&Step| {
            node = node.and_then(|node| node.child(step));
            node.is_some()
        };
        path.iter().take_while(there).count()
    }

    fn at_mut(&mut self, path: &[Step]) -> Option<&mut Self> {
        path.iter().try_fold(self, |node, step| node.child_mut(step))
    }

    /// Where the last key of a path was written.
    fn key_origin(&self, path: &[Step]) -> Origin {
        let entry = || match path.split_last()? {
            (Step::Key(key), above) => above.iter().try_fold(self, |node, step| node.child(step))?.entry(key),
            (Step::Index(_), _) => None,
        };
        entry().map_or_else(|| self.origin.clone(), |entry| entry.origin.clone())
    }

    /// Puts a filler where a section misses a key; `false` if that was tried before.
    fn take_filler(&mut self, key: &str) -> bool {
        let is_section = matches!(self.kind, Kind::Section(_));
        if !(is_section || self.is_blank()) || self.entry(key).is_some() {
            return false;
        }
        let origin = self.origin.clone();
        if let Some(node) = self.key_or_new(key, &origin) {
            *node = Self::filler(origin);
        }
        true
    }
}
