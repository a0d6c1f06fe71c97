//! What a condition may say. Everything that is not listed here is refused when the policy is read.

use cel::common::ast::{CallExpr, ComprehensionExpr, Expr, LiteralValue, SelectExpr, SourceInfo, operators};
use cel::parser::{Expression as Tree, Parser};

use super::slot::{Pattern, Slot};
use crate::policy::demand::Pattern as Regex;

/// Longest expression, in bytes. A page of text; more belongs into several rules. The parser takes quadratic time in some texts.
const MAX_BYTES: usize = 1024;

/// Most nodes of the expression, those counted into which loops expand. Each costs 20 to 100 ns at a request.
const MOST_NODES: usize = 256;

/// Most nodes inside loops, each of which is judged for up to [`super::MOST_VALUES`] items.
pub(super) const MOST_LOOP_NODES: usize = 48;

/// What `in` counts inside a loop, unless its list is written out: as many steps again for each item. Two fit, which take 0.7 ms
/// with the longest lists.
const NODES_OF_IN: usize = 16;

/// Deepest nesting. The parser, the checks and the interpreter recurse; people stop at five.
const MAX_DEPTH: usize = 32;

/// What is wrong, and the remedy.
type Mistake = (String, String);

/// The names that an expression starts from.
const ROOTS: [&str; 3] = ["request", "claims", "principal"];

/// The functions that are offered, with how many arguments they take, the text or list before the dot counted.
const FUNCTIONS: [(&str, Form, usize); 8] = [
    ("size", Form::Global, 1),
    ("size", Form::Member, 1),
    ("startsWith", Form::Member, 2),
    ("endsWith", Form::Member, 2),
    ("contains", Form::Member, 2),
    ("int", Form::Global, 1),
    ("string", Form::Global, 1),
    ("double", Form::Global, 1),
];

/// The operators that are offered. Those that make texts and lists are not offered inside loops.
const OPERATORS: [&str; 18] = [
    operators::CONDITIONAL,
    operators::LOGICAL_AND,
    operators::LOGICAL_OR,
    operators::LOGICAL_NOT,
    operators::EQUALS,
    operators::NOT_EQUALS,
    operators::GREATER_EQUALS,
    operators::LESS_EQUALS,
    operators::GREATER,
    operators::LESS,
    operators::NEGATE,
    operators::SUBSTRACT,
    operators::MULTIPLY,
    operators::DIVIDE,
    operators::MODULO,
    operators::ADD,
    operators::INDEX,
    operators::IN,
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Global,
    Member,
}

/// The tree of `source` with its facts replaced by slots, and the slots.
pub(super) fn checked(source: &str) -> Result<(Tree, Vec<Slot>), Mistake> {
    if source.len() > MAX_BYTES {
        return Err((
            format!("the expression has {} bytes; {MAX_BYTES} are judged at most", source.len()),
            "split it into several rules, or use the demands".to_owned(),
        ));
    }
    if is_deep(source) {
        return Err(too_deep());
    }
    let parser = Parser::new().max_recursion_depth(u16::try_from(MAX_DEPTH).unwrap_or(u16::MAX));
    let (mut tree, info) = parser.parse_with_source_info(source).map_err(|errors| {
        let first = errors.errors.into_iter().next();
        let (line, column, what) = first.map_or((1, 1, String::new()), |e| (e.pos.0.max(1), e.pos.1.max(1), e.msg));
        let what = what.strip_prefix("Syntax error: ").unwrap_or(&what).to_owned();
        (format!("{line}:{column}: this is no CEL: {what}"), "see the README for what a condition can say".to_owned())
    })?;
    let mut check =
        Check { source, info, slots: Vec::new(), variables: Vec::new(), nodes: 0, loop_nodes: 0, in_range: false };
    check.node(&mut tree, 0)?;
    Ok((tree, check.slots))
}

/// Whether brackets are open, or signs stand in a row, deeper than anybody means. Counted before the text is parsed, because the
/// parser recurses; inside quotes too, where nobody has so many.
fn is_deep(source: &str) -> bool {
    let (mut open, mut signs, mut dots) = (0_usize, 0_usize, 0_usize);
    source.bytes().any(|byte| {
        match byte {
            b'(' | b'[' | b'{' => open = open.saturating_add(1),
            b')' | b']' | b'}' => open = open.saturating_sub(1),
            _ => {}
        }
        signs = if matches!(byte, b'!' | b'-') { signs.saturating_add(1) } else { 0 };
        dots = dots.saturating_add(usize::from(matches!(byte, b'?')));
        open > MAX_DEPTH || signs > MAX_DEPTH || dots > MAX_DEPTH
    })
}

fn too_deep() -> Mistake {
    (format!("it is nested deeper than {MAX_DEPTH} levels"), "write it flatter, or as several rules".to_owned())
}

struct Check<'s> {
    source: &'s str,
    info: SourceInfo,
    slots: Vec<Slot>,
    /// The variables of the loop around the node: those that were written, and the library's own.
    variables: Vec<String>,
    nodes: usize,
    loop_nodes: usize,
    /// Whether the node makes the list that a loop goes through.
    in_range: bool,
}

impl Check<'_> {
    /// A mistake at the node `id`.
    fn at(&self, id: u64, what: impl AsRef<str>, remedy: impl Into<String>) -> Mistake {
        let offset = self.info.offset_for(id).map_or(0, |(start, _)| start as usize);
        let before = self.source.chars().take(offset);
        let (line, column) = before.fold((1_usize, 1_usize), |(line, column), char| match char {
            '\n' => (line.saturating_add(1), 1),
            _ => (line, column.saturating_add(1)),
        });
        (format!("{line}:{column}: {}", what.as_ref()), remedy.into())
    }

    /// Whether it is the item of the loop around it, or a part of that.
    fn is_of_item(&self, node: &Tree) -> bool {
        match &node.expr {
            Expr::Ident(name) => self.variables.first() == Some(name),
            Expr::Select(select) => self.is_of_item(&select.operand),
            Expr::Call(_) | Expr::Comprehension(_) | Expr::List(_) | Expr::Literal(_) => false,
            Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => false,
        }
    }

    fn in_loop(&self) -> bool {
        !self.variables.is_empty()
    }

    /// Checks the node and everything below it.
    fn node(&mut self, node: &mut Tree, depth: usize) -> Result<(), Mistake> {
        if depth > MAX_DEPTH {
            return Err(too_deep());
        }
        self.nodes = self.nodes.saturating_add(1);
        self.loop_nodes = self.loop_nodes.saturating_add(usize::from(self.in_loop()));
        if self.nodes > MOST_NODES || self.loop_nodes > MOST_LOOP_NODES {
            return Err(self.at(
                node.id,
                format!("it has more than {MOST_NODES} parts, or more than {MOST_LOOP_NODES} inside loops"),
                "split it into several rules, or use the demands",
            ));
        }
        if let Some(slot) = self.slot(node)? {
            return self.replace(node, slot);
        }
        let (id, below) = (node.id, depth.saturating_add(1));
        match &mut node.expr {
            Expr::Literal(LiteralValue::Bytes(_)) => Err(self.at(id, "nothing is compared with bytes", "write a text")),
            Expr::Literal(_) => Ok(()),
            Expr::Ident(name) if self.variables.contains(name) => Ok(()),
            Expr::Ident(name) if ROOTS.contains(&name.as_str()) => Err(self.at(
                id,
                format!("`{name}` stands alone"),
                format!("name what is read of it by a constant: {name}.NAME or {name}[\"NAME\"]"),
            )),
            Expr::Ident(name) => {
                Err(self.at(id, format!("there is no `{name}`"), format!("write one of {}", ROOTS.join(", "))))
            }
            Expr::Select(SelectExpr { operand, .. }) => self.node(operand, below),
            Expr::List(list) if list.optional_indices.is_empty() => self.each(&mut list.elements, below),
            Expr::Call(call) => self.call(id, call, below),
            Expr::Comprehension(comprehension) => self.comprehension(id, comprehension, below),
            Expr::List(_) | Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => {
                Err(self.at(id, "a condition makes no such value", "compare with texts, numbers, booleans or lists"))
            }
        }
    }

    fn each(&mut self, nodes: &mut [Tree], depth: usize) -> Result<(), Mistake> {
        nodes.iter_mut().try_for_each(|node| self.node(node, depth))
    }

    /// Puts the slot's name where the node was.
    fn replace(&mut self, node: &mut Tree, slot: Slot) -> Result<(), Mistake> {
        node.expr = Expr::Ident(format!("@{}", self.slots.len()));
        self.slots.push(slot);
        Ok(())
    }

    /// The slot that the node stands for, if it is a fact.
    fn slot(&self, node: &Tree) -> Result<Option<Slot>, Mistake> {
        if let Expr::Call(CallExpr { func_name, target: None, args }) = &node.expr
            && func_name == operators::IN
            && let [name, Tree { expr: Expr::Ident(root), .. }] = &args[..]
            && root == "claims"
            && let Some(name) = text(name)
        {
            return Ok(Some(Slot::HasClaim(vec![name.into()])));
        }
        let Some((root, path)) = path(node) else { return Ok(None) };
        let tested = matches!(&node.expr, Expr::Select(select) if select.test);
        if root == "claims" {
            let path = path.into_iter().map(Box::from).collect();
            return Ok(Some(if tested { Slot::HasClaim(path) } else { Slot::Claim(path) }));
        }
        let field = path.join(".");
        if tested {
            return Err(self.at(node.id, format!("`{root}.{field}` is always there"), "has() is for claims"));
        }
        let known = match root {
            "request" => "method, host, path, segments, client, time",
            _ => "id, issuer, roles, groups, scopes, tier",
        };
        Slot::named(root, &field)
            .map(Some)
            .ok_or_else(|| self.at(node.id, format!("`{root}` has no `{field}`"), format!("write one of {known}")))
    }

    fn call(&mut self, id: u64, call: &mut CallExpr, depth: usize) -> Result<(), Mistake> {
        if call.func_name == "matches" {
            return self.matches(id, call, depth);
        }
        let name = call.func_name.as_str();
        let (form, target) = match &call.target {
            Some(_) => (Form::Member, 1),
            None => (Form::Global, 0),
        };
        let count = call.args.len().saturating_add(target);
        // The library's loops count and collect by `@result + …`, and ask `@not_strictly_false`.
        let own = matches!(call.args.first(), Some(Tree { expr: Expr::Ident(name), .. }) if name.starts_with('@'));
        if name == operators::ADD && self.in_loop() && !own {
            return Err(self.at(id, "a loop adds for each item", "compare inside loops, and add outside"));
        }
        if name == operators::ADD && self.in_range {
            return Err(self.at(
                id,
                "lists are joined for a loop, so that they may be of any length",
                "write a loop for each list",
            ));
        }
        // Lists may be compared item by item, as they are looked through.
        let compares = [operators::EQUALS, operators::NOT_EQUALS].contains(&name)
            && !call.args.iter().any(|side| matches!(side.expr, Expr::Literal(_)));
        let looks = name == operators::IN && !matches!(call.args.last().map(|list| &list.expr), Some(Expr::List(_)));
        if self.in_loop() && (looks || compares) {
            self.loop_nodes = self.loop_nodes.saturating_add(NODES_OF_IN);
        }
        let operator = form == Form::Global && (OPERATORS.contains(&name) || name == operators::NOT_STRICTLY_FALSE);
        if !operator && !FUNCTIONS.contains(&(name, form, count)) {
            return Err(self.at(
                id,
                format!("there is no function `{name}` of this form with {count} arguments"),
                "write size, startsWith, endsWith, contains, matches, int, string, double, has, exists, all, exists_one, filter or map",
            ));
        }
        if let Some(target) = &mut call.target {
            self.node(target, depth)?;
        }
        self.each(&mut call.args, depth)
    }

    /// `matches(text, "^…$")` or `text.matches("^…$")`: the pattern is compiled here.
    fn matches(&mut self, id: u64, call: &mut CallExpr, depth: usize) -> Result<(), Mistake> {
        call.args.splice(0..0, call.target.take().map(|target| *target));
        let [subject, pattern] = &mut call.args[..] else {
            return Err(self.at(
                id,
                "matches takes a text and a pattern",
                "write matches(request.path, \"^/a/[0-9]+$\")",
            ));
        };
        let Some(written) = text(pattern) else {
            return Err(self.at(
                pattern.id,
                "the pattern is no constant, and would be compiled at each request",
                "write the pattern as a text in quotes",
            ));
        };
        let Some(inner) = written.strip_prefix('^').and_then(|rest| rest.strip_suffix('$')) else {
            return Err(self.at(
                pattern.id,
                "the pattern is not anchored: it would find its text anywhere",
                "write `^` before and `$` after it; with `.*` where anything may stand",
            ));
        };
        // Anchored anew: in `^a|b$` each anchor holds for one half only.
        let regex = Regex::compile(inner).map_err(|said| {
            self.at(pattern.id, format!("this is no pattern: {said}"), "write a regular expression of the crate regex")
        })?;
        // The items of a list are together no longer than a token; one text for each of them would be.
        if self.in_loop() && !self.is_of_item(subject) {
            return Err(self.at(
                id,
                "the same text is matched for each item",
                "match the item, or match the text outside the loop",
            ));
        }
        self.node(subject, depth)?;
        self.replace(pattern, Slot::Pattern(Pattern(regex)))
    }

    fn comprehension(&mut self, id: u64, it: &mut ComprehensionExpr, depth: usize) -> Result<(), Mistake> {
        if self.in_loop() {
            return Err(self.at(
                id,
                "a loop inside a loop may run for seconds",
                "use `in` or a list of constants inside, or write two conditions",
            ));
        }
        if ROOTS.contains(&it.iter_var.as_str()) || it.iter_var2.is_some() {
            return Err(self.at(id, format!("`{}` is taken", it.iter_var), "choose another name for the item"));
        }
        self.in_range = true;
        let range = self.node(&mut it.iter_range, depth);
        self.in_range = false;
        range?;
        self.node(&mut it.accu_init, depth)?;
        self.variables = vec![it.iter_var.clone(), it.accu_var.clone()];
        let parts = [&mut it.loop_cond, &mut it.loop_step, &mut it.result];
        let checked = parts.into_iter().try_for_each(|part| self.node(part, depth));
        self.variables.clear();
        checked
    }
}

/// The constant text that the node is.
fn text(node: &Tree) -> Option<&str> {
    let Expr::Literal(LiteralValue::String(text)) = &node.expr else { return None };
    Some(text.inner())
}

/// The root and the constant names behind it: `claims.a["b"]` is `claims` and `a`, `b`.
fn path(node: &Tree) -> Option<(&str, Vec<&str>)> {
    let (mut names, mut at) = (Vec::new(), node);
    loop {
        match &at.expr {
            Expr::Ident(root) if ROOTS.contains(&root.as_str()) && !names.is_empty() => {
                names.reverse();
                return Some((root, names));
            }
            Expr::Select(select) if !select.test || names.is_empty() => {
                names.push(&select.field);
                at = &select.operand;
            }
            Expr::Call(CallExpr { func_name, target: None, args }) if func_name == operators::INDEX => {
                let [operand, index] = &args[..] else { return None };
                names.push(text(index)?);
                at = operand;
            }
            Expr::Ident(_) | Expr::Select(_) | Expr::Call(_) | Expr::Comprehension(_) | Expr::Literal(_) => {
                return None;
            }
            Expr::List(_) | Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => return None,
        }
    }
}
