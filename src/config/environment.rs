//! The only reader of the environment.

use secrecy::SecretSlice;

/// Variables that begin so are settings: `PORTCULLIS__LISTENERS__ADMIN__ADDRESS`.
pub const PREFIX: &str = "PORTCULLIS__";

/// The settings among the environment's variables.
///
/// # Errors
/// What is wrong, if the name or the value of one of them is no text: passed over, a setting would silently not count.
pub fn settings() -> Result<Vec<(String, String)>, String> {
    #[expect(clippy::disallowed_methods, reason = "this is the one reader of the environment")]
    let variables = std::env::vars_os();
    variables
        .filter(|(name, _)| name.as_encoded_bytes().starts_with(PREFIX.as_bytes()))
        .map(|(name, value)| {
            let shown = name.to_string_lossy().into_owned();
            let name = name.into_string().map_err(|_| format!("{shown}: the name is no text; write it in UTF-8"))?;
            let value = value.into_string().map_err(|_| format!("{shown}: the value is no text; write it in UTF-8"))?;
            Ok((name, value))
        })
        .collect()
}

/// The secret in the variable `name`.
///
/// # Errors
/// What is wrong. A name that is none is not repeated: it may be the secret itself, written in the wrong place.
pub fn secret(name: &str) -> Result<SecretSlice<u8>, String> {
    let named = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    if name.is_empty() || !name.bytes().all(named) {
        return Err("this is no name of an environment variable (A-Z, 0-9, _)".to_owned());
    }
    #[expect(clippy::disallowed_methods, reason = "this is the one reader of the environment")]
    let value = std::env::var(name).unwrap_or_default();
    if value.is_empty() {
        return Err(format!("the environment has no variable `{name}`, or it is empty"));
    }
    Ok(SecretSlice::from(value.into_bytes()))
}
