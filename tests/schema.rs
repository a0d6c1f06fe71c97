//! The schemas that editors use say what the gate reads: the committed ones are those of the code, what ships passes them, and what
//! is wrong in form does not.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::fs;
use std::path::{Path, PathBuf};

use jsonschema::Validator;
use portcullis::config::schema;
use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(below: &str, is_wanted: impl Fn(&str) -> bool + Copy) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join(below)).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(path.to_str().unwrap(), is_wanted));
        } else if is_wanted(path.file_name().unwrap().to_str().unwrap()) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn yaml(path: &Path) -> Option<Value> {
    serde_saphyr::from_str(&fs::read_to_string(path).unwrap()).ok()
}

/// The schema of settings and that of policies.
fn validators() -> [(&'static str, Validator); 2] {
    [("settings", schema::settings()), ("policy", schema::policy())]
        .map(|(name, schema)| (name, jsonschema::draft202012::new(&schema).unwrap()))
}

#[test]
fn the_committed_schemas_are_those_of_the_code() {
    for (name, schema) in [("settings", schema::settings()), ("policy", schema::policy())] {
        let committed = fs::read_to_string(root().join(format!("examples/schema/{name}.json"))).unwrap();
        assert!(
            committed == format!("{schema:#}\n"),
            "not what the types say; write it anew: cargo run -- schema {name} > examples/schema/{name}.json"
        );
        assert!(jsonschema::draft202012::meta::is_valid(&schema));
    }
}

#[test]
fn what_ships_passes_and_names_its_schema() {
    let [(_, settings), (_, policy)] = validators();
    let mut count = 0;
    for folder in ["examples", "k8s", "tests/keycloak"] {
        for path in files(folder, |name| ["portcullis.yaml", "policy.yaml"].contains(&name)) {
            let (validator, name) =
                if path.ends_with("policy.yaml") { (&policy, "policy") } else { (&settings, "settings") };
            let errors: Vec<_> = validator.iter_errors(&yaml(&path).unwrap()).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{}: {errors:?}", path.display());
            let text = fs::read_to_string(&path).unwrap();
            let named = text.lines().next().unwrap().strip_prefix("# yaml-language-server: $schema=");
            let named =
                path.parent().unwrap().join(named.unwrap_or_else(|| panic!("{} names no schema", path.display())));
            let wanted = root().join(format!("examples/schema/{name}.json")).canonicalize().unwrap();
            assert_eq!(named.canonicalize().ok(), Some(wanted), "{}", path.display());
            count += 1;
        }
    }
    assert!(count >= 5, "only {count} files");
}

/// Whether a line of the corpus tells of a mistake of form: of a key, or of the form of a value.
fn is_of_form(line: &str) -> bool {
    let said = line.split_once(": ").map_or("", |(_, said)| said);
    let value = said.strip_prefix('`').and_then(|said| said.split_once('`')).map(|(_, said)| said);
    said.starts_with("unknown key")
        || said.starts_with("the key") && said.contains("` is missing")
        || said.starts_with("the file is a")
        || value.is_some_and(|said| {
            said.starts_with(": ")
                || said.starts_with(" is ") && ![" is no ", " is said once "].iter().any(|not| said.starts_with(not))
        })
}

#[test]
fn what_is_wrong_in_form_does_not_pass() {
    let (mut of_form, mut taken) = (0, Vec::new());
    for path in files("tests/configs", |name| name.ends_with(".yaml")) {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let Some(value) = yaml(&path).filter(|_| text.lines().filter(|line| line.starts_with("#= ")).any(is_of_form))
        else {
            continue;
        };
        of_form += 1;
        let validators = validators();
        let (_, validator) = validators.iter().find(|(kind, _)| name.starts_with(kind)).unwrap();
        if validator.is_valid(&value) {
            taken.push(name.to_owned());
        }
    }
    assert!(taken.is_empty(), "{taken:#?}");
    assert!(of_form >= 40, "only {of_form} files are wrong in form");
}
