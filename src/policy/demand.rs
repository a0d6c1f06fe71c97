//! What a rule demands of a principal. Checked at each request, never cached.

use serde_json::Value;

use super::{ClaimPath, Principal, Reason};

/// One demand; a rule's demands must all be met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Demand {
    /// At least one of these roles.
    AnyRole(Vec<Box<str>>),
    /// All of these roles.
    AllRoles(Vec<Box<str>>),
    /// At least one of these scopes.
    AnyScope(Vec<Box<str>>),
    /// All of these scopes.
    AllScopes(Vec<Box<str>>),
    /// A claim that passes a test.
    Claim(ClaimPath, ClaimTest),
}

/// What a claim must be.
#[derive(Debug, Clone, PartialEq)]
pub enum ClaimTest {
    /// Exactly this scalar.
    Equals(Value),
    /// One of these scalars.
    In(Vec<Value>),
    /// A list with this scalar in it.
    Contains(Value),
}

// `serde_json::Value` lacks `Eq` only for the sake of floats; ours come from YAML and are finite.
impl Eq for ClaimTest {}

impl Demand {
    /// Whether `principal` meets the demand.
    ///
    /// # Errors
    /// The reason of the refusal if it does not.
    pub fn check(&self, principal: &Principal) -> Result<(), Reason> {
        let (met, otherwise) = match self {
            Self::AnyRole(roles) => (roles.iter().any(|role| principal.has_role(role)), Reason::MissingRole),
            Self::AllRoles(roles) => (roles.iter().all(|role| principal.has_role(role)), Reason::MissingRole),
            Self::AnyScope(scopes) => (scopes.iter().any(|scope| principal.has_scope(scope)), Reason::MissingScope),
            Self::AllScopes(scopes) => (scopes.iter().all(|scope| principal.has_scope(scope)), Reason::MissingScope),
            Self::Claim(path, test) => {
                (path.find(principal.claims()).is_some_and(|claim| test.passes(claim)), Reason::ClaimMismatch)
            }
        };
        met.then_some(()).ok_or(otherwise)
    }
}

impl ClaimTest {
    fn passes(&self, claim: &Value) -> bool {
        match self {
            Self::Equals(wanted) => claim == wanted,
            Self::In(wanted) => wanted.contains(claim),
            Self::Contains(wanted) => claim.as_array().is_some_and(|list| list.contains(wanted)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal() -> Principal {
        let claims = serde_json::json!({"tenant": "acme", "level": 3, "groups": ["a", "user,admin"]});
        Principal::new("i", "s", ["user", "x,admin"], ["read"], None, claims.as_object().cloned().expect("object"))
    }

    #[test]
    fn each_demand_is_met_or_names_its_reason() {
        let list = |items: &[&str]| items.iter().map(|i| Box::from(*i)).collect::<Vec<Box<str>>>();
        let claim = |path: &str, test| Demand::Claim(ClaimPath::new(path), test);
        let table = [
            (Demand::AnyRole(list(&["admin", "user"])), Ok(())),
            (Demand::AnyRole(list(&["admin"])), Err(Reason::MissingRole)),
            (Demand::AllRoles(list(&["user", "admin"])), Err(Reason::MissingRole)),
            (Demand::AllRoles(list(&["user"])), Ok(())),
            (Demand::AnyScope(list(&["write"])), Err(Reason::MissingScope)),
            (Demand::AllScopes(list(&["read"])), Ok(())),
            (Demand::AllScopes(list(&["read", "write"])), Err(Reason::MissingScope)),
            (claim("tenant", ClaimTest::Equals("acme".into())), Ok(())),
            (claim("tenant", ClaimTest::Equals("ACME".into())), Err(Reason::ClaimMismatch)),
            (claim("level", ClaimTest::In(vec![2.into(), 3.into()])), Ok(())),
            (claim("level", ClaimTest::In(vec!["3".into()])), Err(Reason::ClaimMismatch)),
            (claim("groups", ClaimTest::Contains("a".into())), Ok(())),
            (claim("groups", ClaimTest::Contains("admin".into())), Err(Reason::ClaimMismatch)),
            (claim("none", ClaimTest::Equals(Value::Null)), Err(Reason::ClaimMismatch)),
        ];
        for (demand, wanted) in table {
            assert_eq!(demand.check(&principal()), wanted, "{demand:?}");
        }
    }

    #[test]
    fn t_d6_a_list_inside_one_value_is_one_value() {
        assert_eq!(Demand::AnyRole(vec!["admin".into()]).check(&principal()), Err(Reason::MissingRole));
    }
}
