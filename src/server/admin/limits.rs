//! How full somebody's buckets are: `GET /limits`. It takes nothing from them.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::clock;
use super::Admin;
use super::bearer::Bearer;
use super::issuer::issuer;
use super::problem::{Problem, admit, answer, bad};
use crate::gate::ports::{Bucket, KeptBy};
use crate::limits::Limits;
use crate::limits::shared::OnLoss;
use crate::policy::Policy;
use crate::policy::identity::wire_safe;
use crate::policy::limit::key::{Who, Whose};
use crate::policy::limit::{Applied, By, Level};

/// Mounts the endpoint.
pub(super) fn routes(app: &mut web::ServiceConfig, limits: &Arc<Limits>, bearer: &Bearer) {
    let resource = web::resource("/limits")
        .app_data(web::Data::from(Arc::clone(limits)))
        .app_data(web::Data::new(bearer.clone()))
        .route(web::get().to(show));
    app.service(resource);
}

/// Whose buckets.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Query {
    /// The subject (`sub`).
    user: Option<String>,
    /// The issuer's configured name; may be left out if there is one issuer only.
    issuer: Option<String>,
    tenant: Option<String>,
    tier: Option<String>,
    /// The client's address.
    client: Option<IpAddr>,
    /// Claims by which buckets are told apart, as a JSON object.
    claims: Option<String>,
}

async fn show(
    request: HttpRequest,
    admin: web::Data<Admin>,
    limits: web::Data<Limits>,
    bearer: web::Data<Bearer>,
) -> HttpResponse {
    let result = async {
        admit(&request, &bearer)?;
        let query = web::Query::<Query>::from_query(request.query_string());
        let query =
            query.map_err(|_| bad("write user, issuer, tenant, tier, client (an address) or claims, each once"))?;
        let asked = asked(&admin, &query)?;
        let buckets: Vec<Bucket> = asked.iter().map(|one| one.bucket.clone()).collect();
        let (levels, kept) = limits.levels(&buckets, clock::now()).await;
        let shown: Vec<Value> = asked.iter().zip(levels).map(|(asked, level)| asked.json(level)).collect();
        Ok(HttpResponse::Ok().json(json!({"buckets": shown, "kept_by": store(kept, &limits)})))
    };
    answer(result.await)
}

/// Where the buckets are.
fn store(kept: KeptBy, limits: &Limits) -> Value {
    match (kept, limits.shared()) {
        (KeptBy::Shared, _) => json!({"store": "redis"}),
        (KeptBy::Memory | KeptBy::Nobody, None) => json!({"store": "memory"}),
        (KeptBy::Memory | KeptBy::Nobody, Some(shared)) => {
            let why = match shared.on_loss() {
                OnLoss::Local => format!("redis is lost: this is the share of one of {} replicas", shared.replicas()),
                OnLoss::Refuse => "redis is lost: whoever is under a limit is refused".to_owned(),
                OnLoss::Allow => "redis is lost: nobody is limited".to_owned(),
            };
            json!({"store": "memory", "why": why})
        }
    }
}

/// A bucket, and what is known of it.
struct Shown {
    bucket: Bucket,
    limit: Box<str>,
    /// Whose numbers these are, if tiers have different ones.
    tier: Option<String>,
    /// The rules that take from it; none: all others.
    rule: Option<Box<str>>,
}

fn asked(admin: &Admin, query: &Query) -> Result<Vec<Shown>, Problem> {
    let in_force = admin.gate.in_force();
    let claims: Map<String, Value> = match &query.claims {
        None => Map::new(),
        Some(text) => serde_json::from_str(text).map_err(|_| bad("`claims` is a JSON object"))?,
    };
    let of_issuer = query.user.is_some() || query.tenant.is_some() || query.claims.is_some();
    let issuer = if of_issuer || query.issuer.is_some() {
        Some(issuer(&admin.gate, query.issuer.as_deref()).map_err(bad)?)
    } else {
        None
    };
    if !of_issuer && query.tier.is_none() && query.client.is_none() {
        return Err(bad("name whose buckets: user, tenant, tier, client or claims"));
    }
    let encoded = |text: &Option<String>| text.as_deref().map(|text| wire_safe(text).into_owned());
    let (subject, tenant, tier) = (encoded(&query.user), encoded(&query.tenant), encoded(&query.tier));
    let who = issuer.map(|issuer| Who {
        issuer: &issuer.name,
        subject: subject.as_deref().unwrap_or_default(),
        tenant: tenant.as_deref(),
        tier: tier.as_deref(),
        claims: &claims,
    });
    let known = Known { who, query, policy: &in_force.policy, tier: tier.as_deref() };
    let mut shown: Vec<Shown> = Vec::new();
    for rule in in_force.policy.rules() {
        for applied in rule.limits.iter().filter(|applied| known.names(applied)) {
            known.add(applied, &rule.id, &mut shown);
        }
    }
    Ok(shown)
}

/// What is known of whoever has the buckets.
struct Known<'a> {
    who: Option<Who<'a>>,
    query: &'a Query,
    policy: &'a Policy,
    tier: Option<&'a str>,
}

impl Known<'_> {
    /// Whether enough is known to name the bucket.
    fn names(&self, applied: &Applied) -> bool {
        let (user, client) = (self.query.user.is_some(), self.query.client.is_some());
        // Whose address alone is known is a stranger.
        let somebody = if self.who.is_some() { user } else { client };
        applied.limit.by.iter().all(|by| match by {
            By::Client => client,
            By::Rule => true,
            By::Tier => self.tier.is_some() || somebody,
            By::User => somebody,
            By::Tenant => self.query.tenant.is_some() || somebody,
            By::Claim(path) => self.who.is_some_and(|who| path.find(who.claims).is_some()) || somebody,
        })
    }

    /// Adds the bucket, once for each of the numbers that it may have.
    fn add(&self, applied: &Applied, rule: &str, shown: &mut Vec<Shown>) {
        let default_tier = &*self.policy.identity.default_tier;
        let named = applied.rates.tiers.iter().map(|(tier, _)| &**tier);
        let tiers: Vec<&str> = match self.tier {
            Some(tier) => vec![tier],
            None => [default_tier].into_iter().chain(named.filter(|tier| *tier != default_tier)).collect(),
        };
        for tier in tiers {
            let Some(rate) = applied.rates.of(tier) else { continue };
            let who = self.who.map(|who| Who { tier: Some(tier), ..who });
            // As decisions know it: an IPv4 address written as IPv6 is one of IPv4.
            let client = self.query.client.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |client| client.to_canonical());
            let mut key = String::new();
            applied.write_key(&Whose { rule, client, who, default_tier: tier }, &mut key);
            let bucket = Bucket { key, rate: *rate, takes: false };
            if !shown.iter().any(|other| other.bucket == bucket) {
                let is_named = applied.rates.tiers.iter().any(|(name, _)| **name == *tier);
                shown.push(Shown {
                    bucket,
                    limit: applied.limit.name.clone(),
                    tier: is_named.then(|| tier.to_owned()),
                    rule: (applied.is_own || applied.limit.by.contains(&By::Rule)).then(|| rule.into()),
                });
            }
        }
    }
}

impl Shown {
    fn json(&self, level: Level) -> Value {
        json!({
            "limit": self.limit, "bucket": self.bucket.key, "tier": self.tier, "rule": self.rule,
            "rate": self.bucket.rate.to_string(), "burst": level.rate.burst(), "left": level.left,
            "next_in": level.next_in.as_secs_f64(), "full_in": level.full_in.as_secs_f64(),
        })
    }
}
