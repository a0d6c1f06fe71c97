//! The JSON Schema (draft 2020-12) of the two files, made of the types that they are read into: what editors complete and check by.

use schemars::generate::SchemaSettings;
use schemars::transform::{Transform as _, transform_subschemas};
use schemars::{JsonSchema, Schema};
use serde_json::{Map, Value, json};

use super::settings::SettingsFile;
use crate::policy::PolicyFile;

/// The schema of the settings file.
#[must_use]
pub fn settings() -> Value {
    of::<SettingsFile>("Settings of portcullis")
}

/// The schema of the policy file.
#[must_use]
pub fn policy() -> Value {
    of::<PolicyFile>("Policy of portcullis")
}

fn of<T: JsonSchema>(title: &str) -> Value {
    let generator = SchemaSettings::draft2020_12().for_deserialize().into_generator();
    let mut schema = generator.into_root_schema_for::<T>();
    schema.insert("title".to_owned(), title.into());
    (|schema: &mut Schema| as_read(schema)).transform(&mut schema);
    schema.to_value()
}

/// Two habits of the reader that serde's derivations do not show: an empty value is a mistake wherever it stands, and a number or
/// a boolean where text is wanted is the text that was written.
fn as_read(schema: &mut Schema) {
    if let Some(object) = schema.as_object_mut() {
        without_null(object);
        let is_free = !["enum", "const", "pattern", "minLength"].iter().any(|key| object.contains_key(*key));
        if is_free && object.get("type") == Some(&json!("string")) {
            object.insert("type".to_owned(), json!(["string", "number", "boolean"]));
        }
    }
    transform_subschemas(&mut as_read, schema);
}

fn without_null(schema: &mut Map<String, Value>) {
    let null = json!("null");
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| *name != null);
        if let [only] = &types[..] {
            let only = only.clone();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(names)) = schema.get_mut("enum") {
        names.retain(|name| !name.is_null());
    }
    if let Some(Value::Array(mut choices)) = schema.remove("anyOf") {
        choices.retain(|choice| choice.get("type") != Some(&null));
        match (choices.pop(), choices.is_empty()) {
            (Some(Value::Object(only)), true) => only.into_iter().for_each(|(key, value)| {
                schema.entry(key).or_insert(value);
            }),
            (last, _) => {
                choices.extend(last);
                schema.insert("anyOf".to_owned(), Value::Array(choices));
            }
        }
    }
    match schema.get_mut("default") {
        Some(Value::Null) => {
            schema.remove("default");
        }
        Some(default) => drop_null(default),
        None => {}
    }
}

fn drop_null(value: &mut Value) {
    if let Value::Object(members) = value {
        members.retain(|_, member| !member.is_null());
        members.values_mut().for_each(drop_null);
    }
}
