//! How much somebody may, as an operator writes it.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// One limit: a token bucket for each of what it tells apart.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitFile {
    /// Its name: unique, `a-z 0-9 - _`, in metrics, audit lines and answers.
    pub name: String,
    /// What has a bucket of its own: `user`, `tenant`, `tier`, `client` (the address), `rule`, `claim:PATH`, or a list of these. Who has no
    /// such tenant or claim has one as a user, and a stranger one by his address.
    pub by: NamesFile,
    /// Which requests it counts: `requests` (default: all), `unauthenticated` (those by which nobody is known) or `failures` (those with
    /// a credential that does not hold).
    #[serde(default)]
    pub counts: CountsFile,
    /// How many tokens come in each `period`. Default: the limit applies to rules only that give a `rate` of their own.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub rate: Option<u32>,
    /// The time for `rate`, such as `1s` (default) or `1min`.
    #[serde(default)]
    pub period: Option<String>,
    /// How many tokens a bucket holds: so many requests may come at once. Default: `rate`.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub burst: Option<u32>,
    /// Other numbers for tiers, or `exempt`.
    #[serde(default)]
    pub tiers: BTreeMap<String, TierFile>,
}

/// One name, or a list of names.
#[derive(Debug)]
pub struct NamesFile(pub Vec<String>);

/// Which requests a limit counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CountsFile {
    /// All.
    #[default]
    Requests,
    /// Those by which nobody is known: without a credential, and each with one that was never seen, until it is proven.
    Unauthenticated,
    /// Those with a credential that does not hold.
    Failures,
}

/// Numbers of a tier, or none: `exempt`.
#[derive(Debug)]
pub enum TierFile {
    /// The limit is not this tier's.
    Exempt,
    /// These.
    Rate(RatesFile),
}

/// Limits that are otherwise for a rule.
#[derive(Debug)]
pub enum RuleLimitsFile {
    /// None applies.
    Exempt,
    /// These, by name.
    Each(BTreeMap<String, RuleLimitFile>),
}

/// One limit that is otherwise for a rule.
#[derive(Debug)]
pub enum RuleLimitFile {
    /// It does not apply.
    Exempt,
    /// With these numbers, and buckets of the rule's own.
    Rates(RatesFile),
}

/// Numbers.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RatesFile {
    /// How many tokens come in each `period`. Default: as the limit has it.
    #[schemars(range(min = 1))]
    pub rate: Option<u32>,
    /// The time for `rate`. Default: as the limit has it.
    pub period: Option<String>,
    /// How many tokens a bucket holds. Default: `rate`; where there is none, as the limit has it.
    #[schemars(range(min = 1))]
    pub burst: Option<u32>,
    /// Other numbers for tiers, or `exempt`; not inside a tier. Tiers that the limit exempts stay so, unless they are named here.
    pub tiers: BTreeMap<String, TierFile>,
}

/// What answers say of limits, beside `Retry-After`.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitHeadersFile {
    /// `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers). Default `true`.
    pub draft: bool,
    /// `X-RateLimit-Limit`, `X-RateLimit-Remaining` and `X-RateLimit-Reset`. Default `false`.
    pub x: bool,
    /// Whether requests that pass are told, too: Envoy and nginx can hand it on to the client. Default `false`.
    pub on_allow: bool,
}

impl Default for LimitHeadersFile {
    fn default() -> Self {
        Self { draft: true, x: false, on_allow: false }
    }
}

/// Reads the word `exempt`, or a map such as this.
struct ExemptOr<T>(&'static str, std::marker::PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ExemptOr<T> {
    type Value = Option<T>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("`exempt`, or a map")
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<Option<T>, E> {
        match word {
            "exempt" => Ok(None),
            other => Err(E::custom(format!(
                "`{other}` is neither `exempt` nor a map; write exempt, or a map such as {}",
                self.0
            ))),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Option<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Some)
    }
}

fn exempt_or<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
    sample: &'static str,
) -> Result<Option<T>, D::Error> {
    deserializer.deserialize_any(ExemptOr(sample, std::marker::PhantomData))
}

fn exempt_or_schema<T: JsonSchema>(what: &str, generator: &mut SchemaGenerator) -> Schema {
    let own = generator.subschema_for::<T>();
    json_schema!({"description": what, "anyOf": [{"const": "exempt"}, own]})
}

macro_rules! exempt_or {
    ($($name:ident, $variant:ident of $inner:ty: $what:literal, $sample:literal;)*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Ok(exempt_or(deserializer, $sample)?.map_or(Self::Exempt, Self::$variant))
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                exempt_or_schema::<$inner>($what, generator)
            }
        }
    )*};
}

exempt_or! {
    TierFile, Rate of RatesFile: "`exempt`, or the numbers of this tier.", "{rate: 20, period: 1min}";
    RuleLimitFile, Rates of RatesFile: "`exempt`, or numbers of the rule's own.", "{rate: 20, period: 1min}";
    RuleLimitsFile, Each of BTreeMap<String, RuleLimitFile>: "`exempt`: none applies; or limits by their names.", "{per-user: exempt}";
}

impl<'de> Deserialize<'de> for NamesFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = NamesFile;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a word such as `user`, or a list of words")
            }

            fn visit_str<E: Error>(self, word: &str) -> Result<NamesFile, E> {
                Ok(NamesFile(vec![word.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<NamesFile, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = seq.next_element()? {
                    names.push(name);
                }
                Ok(NamesFile(names))
            }
        }
        deserializer.deserialize_any(Names)
    }
}

impl JsonSchema for NamesFile {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "NamesFile".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let name = json_schema!({"type": "string", "pattern": "^(user|tenant|tier|client|rule|claim:.+)$"});
        json_schema!({"description": "One name, or a list of names.", "anyOf": [name, {"type": "array", "items": name, "minItems": 1}]})
    }
}
