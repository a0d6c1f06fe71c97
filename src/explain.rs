//! Why a request is decided as it is: the decision of [`Gate::decide`], and everything that was looked at on the way to it.

mod answer;
mod limits;
mod printed;
mod question;

use serde_json::{Map, Value, json};

use crate::clock::UnixTime;
use crate::gate::Gate;
use crate::policy::demand::Traced;
use crate::policy::document::Who;
use crate::policy::route::Outcome;
use crate::policy::{Class, Decision, Demand, Facts, Policy, Reason, RequestFacts, Rule};

pub use answer::{ALLOWED, Answer};
use limits::UnderLimit;
pub use question::{Asked, Question, default_client, default_method};

/// A decision, explained.
#[derive(Debug)]
pub struct Explanation {
    /// What was asked, as the policy sees it; none if it could not be read.
    request: Option<Request>,
    places: Vec<Place>,
    /// Whom the rule that applies lets in.
    who: Option<Who>,
    demands: Vec<Judged>,
    limits: Vec<UnderLimit>,
    /// Who is asking, encoded as in headers, and the issuer's name.
    asker: Option<(String, String)>,
    answer: Answer,
}

#[derive(Debug)]
struct Request {
    method: String,
    host: String,
    path: String,
    client: String,
    set: Option<String>,
}

/// One place of a rule.
#[derive(Debug)]
struct Place {
    rule: String,
    host: String,
    path: String,
    methods: Vec<String>,
    applies: bool,
    is_of_another_host: bool,
    why: String,
}

/// A demand; its outcome, unless the decision fell before demands were asked; and its parts.
#[derive(Debug)]
struct Judged {
    demand: String,
    outcome: Option<Result<(), Reason>>,
    parts: Vec<Self>,
}

impl Explanation {
    /// Decides the question at `now`, as the gate decides it, and explains.
    pub async fn of(gate: &Gate, question: &Question, now: UnixTime) -> Self {
        let (in_force, fields) = (gate.in_force(), question.fields());
        let ask = question.ask(&fields);
        let decision = match &ask {
            Ok(ask) => gate.rehearse(&in_force, ask, now).await,
            Err(reason) => Err((*reason).into()),
        };
        let facts = ask.as_ref().ok().map(|ask| &ask.facts);
        let answer = Answer::of(&in_force.policy, &decision, &fields, facts);
        Self::told(&in_force.policy, facts, &decision, answer, now)
    }

    fn told(
        policy: &Policy,
        facts: Option<&RequestFacts<'_>>,
        decision: &Decision,
        answer: Answer,
        now: UnixTime,
    ) -> Self {
        let (rule, principal, reason) = match decision {
            Ok(grant) => (Some(grant.rule()), grant.principal(), None),
            Err(refusal) => (refusal.rule.as_ref(), refusal.principal.as_deref(), Some(refusal.reason)),
        };
        let demands = facts.zip(rule).map(|(request, rule)| {
            // A preflight names nobody, and is asked nothing but what `cors` says.
            let were_asked =
                policy.route(request).is_ok() && (principal.is_some() || were_asked_of_nobody(rule, reason));
            let facts = Facts { request, principal, now };
            let judged = |demand: &Demand| Judged::of(demand.trace(&facts), were_asked);
            rule.access.demands.iter().map(judged).collect()
        });
        Self {
            request: facts.map(Request::of),
            places: facts.map(|facts| places(policy, facts)).unwrap_or_default(),
            who: rule.map(|rule| rule.access.who),
            demands: demands.unwrap_or_default(),
            limits: rule.map(|rule| UnderLimit::each(rule, principal, policy)).unwrap_or_default(),
            asker: principal.map(|asker| (asker.wire_subject().to_owned(), asker.issuer().to_owned())),
            answer,
        }
    }

    /// Whether the gate would let the request pass.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.answer.is_allowed
    }

    /// For scripts.
    #[must_use]
    pub fn json(&self) -> Value {
        let request = self.request.as_ref().map(|request| {
            json!({
                "method": request.method, "host": request.host, "path": request.path, "client": request.client,
                "rule_set": request.set,
            })
        });
        let places = self.places.iter().map(|place| {
            json!({
                "rule": place.rule, "host": place.host, "path": place.path, "methods": place.methods,
                "applies": place.applies, "why": place.why,
            })
        });
        let headers: Map<String, Value> =
            self.answer.headers.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
        json!({
            "request": request,
            "rules": places.collect::<Vec<_>>(),
            "demands": self.demands.iter().map(Judged::json).collect::<Vec<_>>(),
            "limits": self.limits.iter().map(UnderLimit::json).collect::<Vec<_>>(),
            "decision": self.answer.word(),
            "reason": self.answer.reason,
            "status": self.answer.status,
            "rule": self.answer.rule,
            "subject": self.asker.as_ref().map(|(subject, _)| subject),
            "issuer": self.asker.as_ref().map(|(_, issuer)| issuer),
            "headers": headers,
        })
    }
}

/// Whether demands were asked although nobody is known: the rule looks at no credential, or lets strangers in and met one. What is
/// wrong with a credential is told before.
fn were_asked_of_nobody(rule: &Rule, reason: Option<Reason>) -> bool {
    let about_credential = |reason: Reason| {
        let classes = [Class::Unauthenticated, Class::AmbiguousCredential, Class::Unable];
        reason != Reason::NoCredential && classes.contains(&reason.class())
    };
    match rule.access.who {
        Who::Anonymous => true,
        Who::Optional => !reason.is_some_and(about_credential),
        Who::Authenticated => false,
    }
}

fn places(policy: &Policy, facts: &RequestFacts<'_>) -> Vec<Place> {
    // Of a preflight the rule of the request that it announces is asked, if it takes any.
    let is_preflight = facts.preflight.is_some() && policy.route(facts).is_err();
    let takes = |rule: &Rule| !is_preflight || rule.cors.is_some();
    let considered = policy.considered(facts).into_iter();
    considered
        .map(|one| Place {
            rule: one.rule.id.to_string(),
            host: one.host.to_string(),
            path: one.path.to_owned(),
            methods: one.methods.0.iter().map(ToString::to_string).collect(),
            applies: one.outcome == Outcome::Applies && takes(one.rule),
            is_of_another_host: one.outcome == Outcome::OtherHost,
            why: match one.outcome {
                Outcome::Applies if !takes(one.rule) => "it would apply, and has no `cors` for preflights".to_owned(),
                Outcome::Applies if is_preflight => "applies to what the preflight announces".to_owned(),
                Outcome::Applies => "applies".to_owned(),
                Outcome::OtherHost => "the host does not match".to_owned(),
                Outcome::HostGivesWay(other) => format!("the host matches, and `{other}` more closely"),
                Outcome::OtherPath => "the path does not match".to_owned(),
                Outcome::PathGivesWay(other) => format!("the path matches, and `{other}` more closely"),
                Outcome::OtherMethod => "the method does not match".to_owned(),
                Outcome::RuleGivesWay(other) => format!("`{}` names the method, or stands before it", other.id),
            },
        })
        .collect()
}

impl Request {
    fn of(facts: &RequestFacts<'_>) -> Self {
        Self {
            method: facts.method.as_str().to_owned(),
            host: facts.host.as_str().to_owned(),
            path: facts.path.as_str().to_owned(),
            client: facts.client.to_string(),
            set: facts.rule_set.map(str::to_owned),
        }
    }
}

impl Judged {
    fn of(traced: Traced, were_asked: bool) -> Self {
        let Traced { demand, outcome, parts } = traced;
        Self {
            demand,
            outcome: were_asked.then_some(outcome.map_err(|fault| fault.reason())),
            parts: parts.into_iter().map(|part| Self::of(part, were_asked)).collect(),
        }
    }

    fn json(&self) -> Value {
        json!({
            "demand": self.demand,
            "met": self.outcome.map(|outcome| outcome.is_ok()),
            "reason": self.outcome.and_then(Result::err).map(Reason::code),
            "parts": self.parts.iter().map(Self::json).collect::<Vec<_>>(),
        })
    }
}
