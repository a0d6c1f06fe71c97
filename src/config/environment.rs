//! The only reader of the environment.

use secrecy::SecretSlice;

/// Variables that begin so are settings: `PORTCULLIS__LISTENERS__ADMIN__ADDRESS`.
pub const PREFIX: &str = "PORTCULLIS__";

/// The settings among the environment's variables.
#[must_use]
pub fn settings() -> Vec<(String, String)> {
    #[expect(clippy::disallowed_methods, reason = "this is the one reader of the environment")]
    let variables = std::env::vars_os();
    variables
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with(PREFIX))
        .collect()
}

/// The secret in the variable `name`; none if it is absent or empty.
#[must_use]
pub fn secret(name: &str) -> Option<SecretSlice<u8>> {
    #[expect(clippy::disallowed_methods, reason = "this is the one reader of the environment")]
    let value = std::env::var(name).ok()?;
    (!value.is_empty()).then(|| SecretSlice::from(value.into_bytes()))
}
