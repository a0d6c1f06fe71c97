//! Runs a folder of test vectors (`scripts/test-vectors.sh` says where they come from): each signed message goes to `KeySet::signer`
//! with the keys that its file names, made as the gate makes them from a JWK set. What is to be refused must be refused; what is to be
//! accepted must be accepted, unless it is signed by what the gate does not verify by choice: then it must be refused, too, and is counted.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test with a main of its own"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis::keys::file;
use portcullis::policy::Reason;
use portcullis::token::{Algorithm, Jws, KeySet, jwk};
use serde_json::{Value, json};

fn main() -> ExitCode {
    let Some(folder) = std::env::args().nth(1) else {
        eprintln!("vectors: name the folder: make test-vectors DIR=FOLDER");
        return ExitCode::FAILURE;
    };
    let (wycheproof, rfc) = (Path::new(&folder).join("wycheproof"), Path::new(&folder).join("rfc7520"));
    let overrides = read(&wycheproof.join("OVERRIDES.json"));
    let mut wrong = Vec::new();
    for (name, kind) in [
        ("json_web_signature_test", "jws"),
        ("json_web_key_test", "jws"),
        ("json_web_crypto_test", "jws"),
        ("json_web_crypto_test", "jwe"),
        ("json_web_encryption_test", "jwe"),
    ] {
        let mut tally = Tally::default();
        wycheproof_set(&read(&wycheproof.join(format!("{name}.json"))), &overrides[name], kind, &mut tally);
        wrong.extend(tally.close(&format!("wycheproof/{name} ({kind})")));
    }
    let mut tally = Tally::default();
    let mut files: Vec<_> = fs::read_dir(&rfc).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files.into_iter().filter(|file| file.extension().is_some_and(|extension| extension == "json")) {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        rfc_examples(&name, &read(&file), &mut tally);
    }
    wrong.extend(tally.close("rfc7520 and 8037"));
    for line in &wrong {
        eprintln!("wrong: {line}");
    }
    if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn read(path: &Path) -> Value {
    let text = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What a vector's author, corrected by `OVERRIDES.json`, wants.
#[derive(Clone, Copy, PartialEq)]
enum Want {
    Accept,
    Refuse,
    /// Signed well, by what is not verified here: this.
    Unsupported(&'static str),
    /// Not judged: this is why.
    Anything(&'static str),
}

/// What became of the vectors of one file.
#[derive(Default)]
struct Tally {
    all: usize,
    accepted: usize,
    refused: usize,
    unsupported: BTreeMap<&'static str, usize>,
    not_judged: BTreeMap<String, usize>,
    wrong: Vec<String>,
}

impl Tally {
    fn judge(&mut self, vector: &str, want: Want, keys: &Keys, message: &str) {
        self.all += 1;
        let verdict = keys.verdict(message);
        match (want, &verdict) {
            (Want::Accept, Ok(())) => {
                self.accepted += 1;
                // And it was the signature that counted: with another one it is refused.
                let (input, signature) = message.rsplit_once('.').unwrap();
                let other = if signature.starts_with('A') { 'B' } else { 'A' };
                let forged = format!("{input}.{other}{}", signature.get(1..).unwrap());
                if keys.verdict(&forged).is_ok() {
                    self.wrong.push(format!("{vector}: accepted with another signature, too"));
                }
            }
            (Want::Refuse, Err(_)) => self.refused += 1,
            (Want::Unsupported(what), Err(_)) => *self.unsupported.entry(what).or_default() += 1,
            (Want::Anything(why), _) => {
                let outcome = if verdict.is_ok() { "accepted" } else { "refused" };
                *self.not_judged.entry(format!("{why}, {outcome}")).or_default() += 1;
            }
            (Want::Accept, Err(why)) => self.wrong.push(format!("{vector}: not accepted: {why}")),
            (Want::Refuse | Want::Unsupported(_), Ok(())) => self.wrong.push(format!("{vector}: not refused")),
        }
    }

    /// Prints the counts; gives what went wrong.
    fn close(self, file: &str) -> Vec<String> {
        print!("{file}: {} vectors: {} accepted, {} refused as they must be", self.all, self.accepted, self.refused);
        let unsupported: Vec<String> =
            self.unsupported.iter().map(|(what, count)| format!("{what}: {count}")).collect();
        if !unsupported.is_empty() {
            let sum: usize = self.unsupported.values().sum();
            print!("; {sum} refused, unsupported by choice ({})", unsupported.join(", "));
        }
        for (why, count) in &self.not_judged {
            print!("; {count} not judged ({why})");
        }
        println!("{}", if self.wrong.is_empty() { String::new() } else { format!("; {} WRONG", self.wrong.len()) });
        let empty = (self.all == 0).then(|| "no vectors".to_owned());
        self.wrong.into_iter().chain(empty).map(|line| format!("{file}, {line}")).collect()
    }
}

/// The keys of a vector, as they become an issuer's.
enum Keys {
    /// From `jwks_file` or `jwks_url`.
    Set(Result<KeySet, String>),
    /// From `hmac_secret_file`: the operator's, not the issuer's.
    Secret(Result<KeySet, String>),
}

impl Keys {
    /// A key alone: as a set of one, or, if it is a secret, as the operator would write it. `algorithm`: the issuer's `algorithms`.
    fn alone(key: &Value, algorithm: Option<Algorithm>) -> Self {
        let as_set = Self::set(&json!({"keys": [key]}), algorithm);
        if key["kty"] != "oct" {
            return as_set;
        }
        assert!(matches!(as_set, Self::Set(Err(_))), "a key set gave a shared secret: {key}");
        let algorithm = algorithm.or_else(|| Algorithm::named(key["alg"].as_str()?));
        let secret = URL_SAFE_NO_PAD.decode(key["k"].as_str().unwrap()).unwrap();
        let made = algorithm.ok_or_else(|| "no such algorithm".to_owned());
        Self::Secret(
            made.and_then(|algorithm| jwk::from_secret(&secret, algorithm)).map(|key| [key].into_iter().collect()),
        )
    }

    fn set(set: &Value, algorithm: Option<Algorithm>) -> Self {
        let allowed: Vec<Algorithm> = algorithm.into_iter().collect();
        Self::Set(file::jwk_set(set.to_string().as_bytes(), &allowed).map(|loaded| loaded.keys))
    }

    fn verdict(&self, message: &str) -> Result<(), String> {
        let (Self::Set(keys) | Self::Secret(keys)) = self;
        let told = |reason: Reason| reason.code().to_owned();
        keys.as_ref()?.signer(&Jws::parse(message).map_err(told)?).map(drop).map_err(told)
    }
}

/// What of a good signature is not verified here, by choice.
fn unsupported(keys: &Value) -> Option<&'static str> {
    match keys {
        key if key["crv"] == "P-521" => Some("ES512"),
        set if set["keys"].as_array().is_some_and(|keys| keys.iter().any(|key| key["kty"] == "oct")) => {
            Some("shared secret in a key set")
        }
        _ => None,
    }
}

fn wycheproof_set(set: &Value, overrides: &Value, kind: &str, tally: &mut Tally) {
    let listed = |list: &str, id: &str| overrides[list].get(id).is_some();
    for group in set["testGroups"].as_array().unwrap() {
        let named = group.get("public").unwrap_or(&group["private"]);
        let keys = if named["keys"].is_array() { Keys::set(named, None) } else { Keys::alone(named, None) };
        for test in group["tests"].as_array().unwrap() {
            let Some(message) = test.get(kind) else { continue };
            // The JSON serialization is given as an object.
            let message = message.as_str().map_or_else(|| message.to_string(), str::to_owned);
            let id = test["tcId"].to_string();
            let want = match test["result"].as_str().unwrap() {
                "valid" if kind == "jwe" => Want::Unsupported("encrypted"),
                _ if listed("ignore", &id) => Want::Anything("mislabelled, says OVERRIDES.json"),
                "invalid" if listed("optional", &id) => Want::Anything("optional, says OVERRIDES.json"),
                "valid" => unsupported(named).map_or(Want::Accept, Want::Unsupported),
                "invalid" => Want::Refuse,
                other => panic!("{id}: `{other}` is no result"),
            };
            tally.judge(&format!("{id} {}", test["comment"]), want, &keys, &message);
        }
    }
}

/// An example of RFC 7520 or RFC 8037: a compact form to accept, other forms to refuse; or a key that stands alone.
fn rfc_examples(name: &str, example: &Value, tally: &mut Tally) {
    if example["kty"].is_string() {
        let (Keys::Set(key) | Keys::Secret(key)) = Keys::alone(example, None);
        let want = unsupported(example).map_or(Want::Accept, Want::Unsupported);
        assert_eq!(key.is_ok(), want == Want::Accept, "{name}: {key:?}");
        return;
    }
    let signed = if example["sign"].is_object() { &example["sign"] } else { example };
    let (input, output) = (&signed["input"], &signed["output"]);
    let several = |value: &Value| value.as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
    for (key, alg) in several(&input["key"]).iter().zip(several(&input["alg"])) {
        let mut public = key.clone();
        let whole = Keys::alone(key, None);
        assert!(key["kty"] == "oct" || matches!(whole, Keys::Set(Err(_))), "{name}: a private key was taken");
        for secret in ["d", "p", "q", "dp", "dq", "qi"] {
            public.as_object_mut().unwrap().remove(secret);
        }
        let keys = Keys::alone(&public, Algorithm::named(alg.as_str().unwrap()));
        let want = unsupported(&public).map_or(Want::Accept, Want::Unsupported);
        if let Some(compact) = output["compact"].as_str() {
            // Without its payload (RFC 7515 appendix F) it proves nothing about one.
            let want = if compact.contains("..") { Want::Refuse } else { want };
            tally.judge(&format!("{name}, compact"), want, &keys, compact);
        }
        for form in ["json", "json_flat"].into_iter().filter(|form| output[form].is_object()) {
            tally.judge(&format!("{name}, {form}"), Want::Refuse, &keys, &output[form].to_string());
        }
        if let Some(encrypted) = example["encrypt"]["output"]["compact"].as_str() {
            tally.judge(&format!("{name}, encrypted"), Want::Unsupported("encrypted"), &keys, encrypted);
        }
    }
}
