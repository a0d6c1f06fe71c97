//! The README's settings for issuers, as they stand there.

use std::fs;

use super::config;
use crate::support::proxy::root;

#[test]
fn the_readmes_issuers_are_good_settings() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let section = readme.split("\n## Issuers\n").nth(1).expect("a section").split("\n## ").next().unwrap();
    let samples: Vec<&str> = section.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(samples.len(), 3, "Keycloak, Auth0, others");
    let all: Vec<String> =
        samples.iter().map(|sample| sample.strip_prefix("issuers:\n").expect("issuers").to_owned()).collect();
    for sample in &all {
        let (code, text) = config(std::slice::from_ref(sample)).check();
        assert_eq!(code, 0, "{sample}\n{text}");
    }
    let (code, text) = config(&all).check();
    assert_eq!(code, 0, "all of them beside each other\n{text}");
}
