//! The layers: each module imports only what stands to its left. A new module must be given its place here.
#![expect(clippy::unwrap_used, clippy::string_slice, reason = "a test that cannot go on panics")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The module and the modules that it may import.
const LAYERS: &[(&str, &[&str])] = &[
    ("clock", &[]),
    ("mistake", &[]),
    ("policy", &["clock", "credential", "mistake"]),
    ("credential", &["policy"]),
    ("token", &["clock", "policy"]),
    ("gate", &["clock", "credential", "policy", "token"]),
    ("protocol", &["credential", "gate", "policy"]),
    ("provider", &["token"]),
    ("keys", &["gate", "provider", "token"]),
    ("introspection", &["clock", "gate", "policy", "provider", "token"]),
    ("redis", &[]),
    ("revocations", &["clock", "gate", "policy", "redis", "token"]),
    ("limits", &["clock", "gate", "policy", "redis"]),
    ("tls", &[]),
    (
        "config",
        &[
            "gate",
            "introspection",
            "keys",
            "limits",
            "mistake",
            "policy",
            "protocol",
            "provider",
            "redis",
            "revocations",
            "tls",
            "token",
        ],
    ),
    ("explain", &["clock", "gate", "policy", "protocol"]),
    ("telemetry", &["config"]),
    (
        "server",
        &[
            "clock",
            "config",
            "explain",
            "gate",
            "introspection",
            "keys",
            "limits",
            "policy",
            "protocol",
            "revocations",
            "tls",
            "token",
        ],
    ),
    ("cli", &["clock", "config", "explain", "gate", "limits", "mistake", "policy", "server", "telemetry", "token"]),
];

/// What the pure core must not know: IO, the world's clock, async, HTTP.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::io",
    "std::env",
    "std::process",
    "std::thread",
    "SystemTime",
    "Instant",
    "tokio",
    "actix",
    "async ",
    ".await",
    "reqwest",
    "tracing",
];

/// Modules of L0 and L1: free of all that, so that they can be compiled into a proxy.
const PURE: &[&str] = &["clock", "mistake", "policy", "credential", "token"];

fn sources() -> BTreeMap<PathBuf, String> {
    fn gather(folder: &Path, files: &mut BTreeMap<PathBuf, String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                gather(&path, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                files.insert(path, text);
            }
        }
    }
    let mut files = BTreeMap::new();
    gather(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    files
}

/// The module that a file belongs to; none for `lib.rs` and `main.rs`.
fn module(path: &Path) -> Option<String> {
    let inside = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_str().unwrap();
    let name = first.strip_suffix(".rs").unwrap_or(first);
    (!["lib", "main"].contains(&name)).then(|| name.to_owned())
}

/// The code of a file: without comments and without what only tests see.
fn code(path: &Path, text: &str) -> String {
    if path.file_name().is_some_and(|name| name == "tests.rs") {
        return String::new();
    }
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn imports_go_one_way() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let Some(module) = module(&path) else { continue };
        let (_, allowed) =
            LAYERS.iter().find(|(name, _)| *name == module).unwrap_or_else(|| panic!("`{module}` has no layer"));
        let code = code(&path, &text);
        for (at, _) in code.match_indices("crate::") {
            let rest = &code[at + "crate::".len()..];
            let names: Vec<&str> = match rest.strip_prefix('{') {
                Some(list) => list
                    .split('}')
                    .next()
                    .unwrap()
                    .split(',')
                    .map(|item| item.trim().split("::").next().unwrap())
                    .collect(),
                None => vec![rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap()],
            };
            for name in names {
                if name != module && !allowed.contains(&name) {
                    wrong.push(format!("{}: crate::{name}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "against the grain:\n{}", wrong.join("\n"));
}

#[test]
fn the_core_does_no_io() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        if module(&path).is_some_and(|module| PURE.contains(&module.as_str())) {
            let code = code(&path, &text);
            wrong.extend(
                IMPURE.iter().filter(|word| code.contains(**word)).map(|word| format!("{}: {word}", path.display())),
            );
        }
    }
    assert!(wrong.is_empty(), "not pure:\n{}", wrong.join("\n"));
}

#[test]
fn one_reader_of_the_clock_and_one_of_the_environment() {
    let with = |word: &str| {
        let all = sources();
        let files = all.iter().filter(|(path, text)| code(path, text).contains(word));
        files.map(|(path, _)| path.file_name().unwrap().to_string_lossy().into_owned()).collect::<Vec<_>>()
    };
    assert_eq!(with("SystemTime::now"), ["clock.rs"]);
    assert_eq!(with("std::env::var"), ["environment.rs"]);
}

#[test]
fn a_grant_is_made_in_one_place() {
    let all = sources();
    let makers: Vec<_> =
        all.iter().filter(|(path, text)| code(path, text).contains("Grant::new(")).map(|(path, _)| path).collect();
    assert_eq!(makers.len(), 1, "{makers:?}");
    assert!(makers[0].ends_with("policy/rule.rs"));
}

/// What nobody has proven serves the commands that judge recorded and invented requests, and no decision.
#[test]
fn a_principal_is_supposed_by_commands_only() {
    let all = sources();
    let makers = all.iter().filter(|(path, text)| {
        let code = code(path, text);
        code.contains(".supposed(") || (code.contains("Principal::new(") && !path.ends_with("token/mapping.rs"))
    });
    let makers: Vec<_> = makers.filter_map(|(path, _)| module(path)).collect();
    assert_eq!(makers, ["cli", "cli"], "`test` and `replay`");
}

#[test]
fn files_stay_readable() {
    let long: Vec<_> =
        sources().into_iter().filter(|(_, text)| text.lines().count() > 400).map(|(path, _)| path).collect();
    assert!(long.is_empty(), "over 400 lines: {long:?}");
}
