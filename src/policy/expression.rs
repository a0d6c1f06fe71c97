//! The condition of a rule (`when:`) in CEL, the Common Expression Language, for what the demands cannot say.
//!
//! It is checked when the policy is read, so that what can go wrong at a request is small and every request's cost is bounded: CEL has
//! neither a type checker here nor a budget of steps.

mod check;
mod slot;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, LazyLock};

use cel::common::types::CelBool;
use cel::parser::Expression as Tree;
use cel::{Context, Env, ExecutionError, Value};
use thiserror::Error;

use super::Facts;
use slot::{Frame, Slot};

pub use slot::MOST_VALUES;

/// A checked condition over `request`, `claims` and `principal`. Equal if written alike.
#[derive(Clone)]
pub struct Expression(Arc<Checked>);

struct Checked {
    source: Box<str>,
    /// What was written, with each fact replaced by a name of its own: `@0`, `@1`.
    tree: Tree,
    /// What those names stand for.
    slots: Vec<Slot>,
}

/// Why a condition has no answer. Says nothing of what the token holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct Broken(&'static str);

/// CEL's own functions, and `matches` with patterns that were compiled before.
static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut environment = Env::default().with_optional_support(false).with_stdlib();
    slot::add_matches(&mut environment);
    Arc::new(environment)
});

impl Expression {
    /// Reads and checks a condition.
    ///
    /// # Errors
    /// What is wrong, with line and column inside the expression, and the remedy: no CEL, an unknown name, a function that is not
    /// offered, a claim whose name is not a constant, a loop inside a loop, or more than is judged at each request.
    pub fn compile(source: &str) -> Result<Self, (String, String)> {
        let (tree, slots) = check::checked(source)?;
        Ok(Self(Arc::new(Checked { source: source.into(), tree, slots })))
    }

    /// As it was written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// The names of the claims that it reads.
    pub fn claims(&self) -> impl Iterator<Item = &str> {
        self.0.slots.iter().filter_map(Slot::claim)
    }

    /// Whether it looks at who is asking.
    #[must_use]
    pub fn needs_principal(&self) -> bool {
        self.0.slots.iter().any(Slot::is_of_principal)
    }

    /// Whether it holds for these facts.
    ///
    /// # Errors
    /// [`Broken`] if it has no answer: a claim is absent, nobody is asking, types do not fit, a list is too long
    /// ([`MOST_VALUES`]), or what comes out is no boolean. As in all CEL, `a || b` and `a && b` have an answer where one side
    /// alone settles it.
    pub fn holds(&self, facts: &Facts<'_>) -> Result<bool, Broken> {
        let frame = Frame::new(&self.0.slots, facts);
        let mut context = Context::with_env(Arc::clone(&ENVIRONMENT));
        context.set_variable_resolver(&frame);
        let value = Value::resolve_val(&self.0.tree, &context)?;
        value.downcast_ref::<CelBool>().map(|held| *held.inner()).ok_or(Broken("the result is neither true nor false"))
    }
}

impl From<ExecutionError> for Broken {
    fn from(error: ExecutionError) -> Self {
        // The library's own words quote the values, which are a token's.
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "the library may add kinds, and none needs words of its own"
        )]
        Self(match error {
            ExecutionError::UndeclaredReference(_) => "what it reads is absent or has too many values",
            ExecutionError::NoSuchKey(_) | ExecutionError::IndexOutOfBounds(_) => "what it reads is not there",
            ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => "it divides by zero",
            ExecutionError::Overflow(..) => "a number is too large",
            _ => "types do not fit",
        })
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.0.source == other.0.source
    }
}

impl Eq for Expression {}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.0.source).finish()
    }
}
