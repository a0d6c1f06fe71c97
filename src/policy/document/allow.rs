//! Whom a rule lets in, as an operator writes it.

use ipnet::IpNet;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde_json::Value;

use crate::policy::ClaimPath;

/// Whom a rule lets in: one of the words `anonymous`, `optional` and `authenticated`, or a map of demands.
#[derive(Debug)]
pub enum AllowFile {
    /// So many.
    Who(Who),
    /// Those that meet all of these.
    Demands(Box<DemandsFile>),
}

/// What is asked of a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Who {
    /// None is looked at.
    Anonymous,
    /// None is needed; one that is there must hold.
    Optional,
    /// One is needed.
    Authenticated,
}

/// Demands; all that are given must be met.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DemandsFile {
    /// What is asked of a credential; only beside the outermost demands. Default `authenticated`.
    pub who: Option<Who>,
    /// Roles: `{any: [admin, auditor]}` or `{all: [...]}`.
    pub roles: Option<AnyAll>,
    /// Groups, in the same form.
    pub groups: Option<AnyAll>,
    /// Scopes, in the same form.
    pub scopes: Option<AnyAll>,
    /// Claims: each a path and a test.
    pub claims: Option<Vec<ClaimDemandFile>>,
    /// A verified e-mail address.
    pub email: Option<EmailFile>,
    /// Issuers that may vouch, by their names in the settings. Default: all.
    pub issuers: Option<Vec<String>>,
    /// Networks that the client's address may be in, such as `10.0.0.0/8`.
    #[schemars(schema_with = "networks")]
    pub networks: Option<Vec<IpNet>>,
    /// Times of the week.
    pub times: Option<Vec<TimesFile>>,
    /// Not before this moment (RFC 3339), such as `2027-01-01T00:00:00Z`.
    pub from: Option<String>,
    /// Not at or after this moment.
    pub until: Option<String>,
    /// How lately and how well the principal has signed in.
    pub fresh: Option<FreshFile>,
    /// A condition in CEL over `request`, `claims` and `principal`, for what the other demands cannot say.
    pub when: Option<String>,
    /// All of these, too.
    pub all: Option<Vec<DemandsFile>>,
    /// At least one of these, too.
    pub any: Option<Vec<DemandsFile>>,
    /// And not this.
    pub not: Option<Box<DemandsFile>>,
}

/// Some or all of a list.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnyAll {
    /// At least one of these.
    Any(Vec<String>),
    /// All of these.
    All(Vec<String>),
}

/// One claim and exactly one test of it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClaimDemandFile {
    /// Where the claim is.
    pub claim: ClaimPath,
    /// It must be exactly this text, number or boolean.
    #[serde(default)]
    #[schemars(schema_with = "scalar")]
    pub equals: Option<Value>,
    /// It must be one of these.
    #[serde(default, rename = "in")]
    #[schemars(schema_with = "scalars")]
    pub one_of: Option<Vec<Value>>,
    /// It must be a list that holds this.
    #[serde(default)]
    #[schemars(schema_with = "scalar")]
    pub contains: Option<Value>,
    /// Whether it must be there (and not null), or must not.
    #[serde(default)]
    pub exists: Option<bool>,
    /// It must be a text that matches this regular expression whole.
    #[serde(default)]
    pub matches: Option<String>,
}

/// A verified e-mail address in one of some domains.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EmailFile {
    /// The domains, each meant exactly.
    pub domains: Vec<String>,
}

/// Hours of some days of each week.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TimesFile {
    /// The days: `mon` to `sun`. Default: all of them.
    #[serde(default)]
    pub days: Vec<Day>,
    /// From this time of the day: `"08:00"`.
    pub from: String,
    /// To before this one; the next day's if it is earlier.
    pub to: String,
    /// The time zone, such as `Europe/Berlin`. Default `UTC`.
    #[serde(default)]
    pub zone: Option<String>,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// How lately and how well a principal has signed in.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FreshFile {
    /// How long ago at most (`auth_time`), such as `15m`.
    pub max_age: Option<String>,
    /// One of these authentication context classes (`acr`).
    pub acr: Option<Vec<String>>,
    /// Authentication methods (`amr`): `{any: [otp, hwk]}` or `{all: [...]}`.
    pub amr: Option<AnyAll>,
}

impl<'de> Deserialize<'de> for AllowFile {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Allow;
        impl<'de> Visitor<'de> for Allow {
            type Value = AllowFile;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("`anonymous`, `optional`, `authenticated`, or a map of demands such as `roles`")
            }

            fn visit_str<E: Error>(self, word: &str) -> Result<AllowFile, E> {
                match word {
                    "anonymous" => Ok(AllowFile::Who(Who::Anonymous)),
                    "optional" => Ok(AllowFile::Who(Who::Optional)),
                    "authenticated" => Ok(AllowFile::Who(Who::Authenticated)),
                    other => Err(E::unknown_variant(other, &["anonymous", "optional", "authenticated"])),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<AllowFile, A::Error> {
                DemandsFile::deserialize(MapAccessDeserializer::new(map)).map(Box::new).map(AllowFile::Demands)
            }
        }
        deserializer.deserialize_any(Allow)
    }
}

/// What the visitor above takes.
impl JsonSchema for AllowFile {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "AllowFile".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (who, demands) = (generator.subschema_for::<Who>(), generator.subschema_for::<DemandsFile>());
        json_schema!({"description": "Whom a rule lets in: one word, or a map of demands.", "anyOf": [who, demands]})
    }
}

/// What claims are compared with.
fn scalar(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": ["string", "integer", "boolean"]})
}

/// Networks with their bits.
fn networks(_: &mut SchemaGenerator) -> Schema {
    const NETWORK: &str =
        "^([0-9.]+/([0-9]|[12][0-9]|3[0-2])|[0-9A-Fa-f.]*:[0-9A-Fa-f.:]*/([0-9]|[1-9][0-9]|1[01][0-9]|12[0-8]))$";
    json_schema!({"type": "array", "items": {"type": "string", "pattern": NETWORK}})
}

fn scalars(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "array", "items": scalar(generator)})
}
