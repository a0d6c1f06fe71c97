//! Which issuer somebody means.

use crate::gate::Gate;
use crate::token::Issuer;

/// The issuer of that configured name; without a name, the only one.
///
/// # Errors
/// If there is none, or more than one; in words that name them.
pub(super) fn issuer<'g>(gate: &'g Gate, name: Option<&str>) -> Result<&'g Issuer, String> {
    let mut issuers = gate.authenticator().issuers();
    match name {
        Some(name) => {
            let found = issuers.find(|issuer| *issuer.name == *name);
            found.ok_or_else(|| format!("no issuer has this name: write one of {}", names(gate)))
        }
        None => match (issuers.next(), issuers.next()) {
            (Some(only), None) => Ok(only),
            _ => Err(format!("there is more than one issuer: write `issuer`, one of {}", names(gate))),
        },
    }
}

fn names(gate: &Gate) -> String {
    let names: Vec<String> = gate.authenticator().issuers().map(|issuer| format!("`{}`", issuer.name)).collect();
    names.join(", ")
}
