use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::super::NoRevocations;
use super::super::ports::{Answer, BoxFuture, Mark, Marks};
use super::super::tests::Free;
use super::*;
use crate::keys::member;
use crate::signer::Signer;
use crate::token::VerifiedClaims;
use crate::token::issuer::{Asked, Audiences};

const NOW: UnixTime = UnixTime::from_secs(1_000_000);
static NOTHING: LazyLock<Kept> = LazyLock::new(|| Kept::new(&[]));

/// Keys that a test changes, and how often newer ones were asked for.
#[derive(Debug, Default)]
struct Changing {
    current: Mutex<Option<Arc<KeySet>>>,
    newer: Mutex<Option<Arc<KeySet>>>,
    asked: AtomicUsize,
}

impl Changing {
    fn with(signers: &[&Signer]) -> Arc<Self> {
        let keys = Self::default();
        keys.set(signers);
        Arc::new(keys)
    }

    fn set(&self, signers: &[&Signer]) {
        *self.current.lock().expect("no panic") = Some(set(signers));
    }
}

fn set(signers: &[&Signer]) -> Arc<KeySet> {
    let key = |signer: &&Signer| member::key(&signer.jwk(), &[]).expect("a key");
    Arc::new(signers.iter().map(key).collect())
}

impl Keys for Changing {
    fn current(&self, _: usize) -> Option<Arc<KeySet>> {
        self.current.lock().expect("no panic").clone()
    }

    fn newer<'a>(&'a self, _: usize, _: &'a str) -> BoxFuture<'a, Option<Arc<KeySet>>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { self.newer.lock().expect("no panic").clone() })
    }
}

/// Issuers that answer about tokens what a test says, and which of them were asked.
#[derive(Debug, Default)]
struct Asking {
    answers: Mutex<HashMap<(usize, String), Result<Value, Reason>>>,
    asked: Mutex<Vec<(usize, String)>>,
}

impl Asking {
    fn says(&self, issuer: usize, token: &str, answer: Result<Value, Reason>) {
        self.answers.lock().expect("no panic").insert((issuer, token.to_owned()), answer);
    }

    fn count(&self) -> usize {
        self.asked.lock().expect("no panic").len()
    }
}

impl Introspection for Asking {
    fn ask<'a>(&'a self, issuer: usize, question: Question<'a>) -> BoxFuture<'a, Result<Answer, Reason>> {
        let asked = (issuer, question.token.to_owned());
        let answer = self.answers.lock().expect("no panic").get(&asked).cloned().unwrap_or(Err(Reason::Inactive));
        self.asked.lock().expect("no panic").push(asked);
        Box::pin(async move {
            let claims = Arc::new(answer?.as_object().expect("an object").clone());
            Ok(Answer { claims, ask_again: question.now.after(Duration::from_secs(10)) })
        })
    }
}

fn issuer(name: &str) -> Issuer {
    let audiences = Audiences::OneOf(vec!["shop".into()]);
    let mut issuer = Issuer::new(name, &format!("https://{name}"), audiences);
    issuer.terms.leeway = Duration::ZERO;
    issuer
}

/// Revokes what a test says, by the claims themselves.
#[derive(Debug, Default)]
struct Revoking {
    answer: Mutex<Option<Reason>>,
    asked: AtomicUsize,
}

impl Revocations for Revoking {
    fn marks(&self, issuer: &str, claims: &VerifiedClaims) -> Result<Marks, Reason> {
        assert_eq!((issuer, claims.subject()), ("https://a", "alice"));
        Ok(Marks { names: [Some(Mark::new(7)), None, None], issued: claims.issued().expect("iat") })
    }

    fn check(&self, marks: &Marks, _: UnixTime) -> Result<(), Reason> {
        assert_eq!(
            (marks.names, marks.issued),
            ([Some(Mark::new(7)), None, None], UnixTime::from_micros(999_999_500_000))
        );
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.answer.lock().expect("no panic").map_or(Ok(()), Err)
    }
}

#[tokio::test]
async fn every_use_of_a_token_asks_whether_it_was_revoked() {
    let signer = Signer::new("k", "EdDSA");
    let revoking = Arc::new(Revoking::default());
    let authenticator = Authenticator {
        revocations: Arc::clone(&revoking) as Arc<dyn Revocations>,
        ..authenticator(&Changing::with(&[&signer]))
    };
    let mut claims = claims("a", "alice");
    claims["iat"] = json!(999_999.5);
    let token = signer.token(&claims);
    let steps = [Some(Reason::Revoked), None, None, Some(Reason::Revoked), Some(Reason::RevocationsStale), None];
    for (already, answer) in steps.into_iter().enumerate() {
        *revoking.answer.lock().expect("no panic") = answer;
        let wanted = answer.map_or(Ok("a/alice".to_owned()), Err);
        assert_eq!(ask(&authenticator, &token, NOW).await, wanted);
        assert_eq!(revoking.asked.load(Ordering::Relaxed), already + 1);
    }
    assert!(authenticator.cache.get(authenticator.cache.name(&token)).is_some(), "the proof itself holds");
}

fn authenticator(keys: &Arc<Changing>) -> Authenticator {
    with_introspection(vec![issuer("a"), issuer("b")], keys, &Arc::default())
}

fn with_introspection(issuers: Vec<Issuer>, keys: &Arc<Changing>, asked: &Arc<Asking>) -> Authenticator {
    let (keys, asked) = (Arc::clone(keys) as Arc<dyn Keys>, Arc::clone(asked) as Arc<dyn Introspection>);
    Authenticator::new(issuers, keys, asked, Arc::new(NoRevocations), TokenCache::new(1 << 20, [7; 16]), "jwt")
}

fn claims(issuer: &str, subject: &str) -> Value {
    json!({"iss": format!("https://{issuer}"), "aud": "shop", "sub": subject, "exp": NOW.secs().saturating_add(60)})
}

async fn ask(authenticator: &Authenticator, token: &str, now: UnixTime) -> Result<String, Reason> {
    let header = format!("Bearer {token}");
    let mut presented = Presented::default();
    presented.authorization.push(header.as_bytes());
    let principal = authenticator.principal(&CredentialKind::DEFAULT, &presented, &NOTHING, &mut Free, now).await?;
    Ok(format!("{}/{}", principal.issuer(), principal.subject()))
}

#[tokio::test]
async fn a_proof_is_remembered_and_dies_with_its_token() {
    let signer = Signer::new("k", "EdDSA");
    let authenticator = authenticator(&Changing::with(&[&signer]));
    let token = signer.token(&claims("a", "alice"));
    assert_eq!(ask(&authenticator, &token, NOW).await.as_deref(), Ok("a/alice"));
    assert!(authenticator.cache.get(authenticator.cache.name(&token)).is_some());
    assert_eq!(ask(&authenticator, &token, NOW.after(Duration::from_secs(59))).await.as_deref(), Ok("a/alice"));
    assert_eq!(ask(&authenticator, &token, NOW.after(Duration::from_secs(60))).await, Err(Reason::Expired));
}

#[tokio::test]
async fn a_proof_is_not_valid_before_its_time_even_if_the_clock_is_set_back() {
    let signer = Signer::new("k", "EdDSA");
    let authenticator = authenticator(&Changing::with(&[&signer]));
    let mut claims = claims("a", "alice");
    claims["nbf"] = json!(NOW.secs());
    let token = signer.token(&claims);
    assert!(ask(&authenticator, &token, NOW).await.is_ok());
    assert_eq!(ask(&authenticator, &token, NOW.before(Duration::from_secs(1))).await, Err(Reason::NotYetValid));
}

#[tokio::test]
async fn a_proof_dies_with_its_key() {
    let (old, new) = (Signer::new("k", "EdDSA"), Signer::new("k", "EdDSA"));
    let keys = Changing::with(&[&old]);
    let authenticator = authenticator(&keys);
    let token = old.token(&claims("a", "alice"));
    assert!(ask(&authenticator, &token, NOW).await.is_ok());
    // The same name, another key: the name is not what was proven.
    keys.set(&[&new]);
    assert_eq!(ask(&authenticator, &token, NOW).await, Err(Reason::BadSignature));
    keys.set(&[&old, &new]);
    assert!(ask(&authenticator, &token, NOW).await.is_ok());
    *keys.current.lock().expect("no panic") = None;
    assert_eq!(ask(&authenticator, &token, NOW).await, Err(Reason::KeysUnavailable));
}

#[tokio::test]
async fn a_proof_dies_with_a_reload_of_its_issuer() {
    let signer = Signer::new("k", "EdDSA");
    let mut authenticator = authenticator(&Changing::with(&[&signer]));
    let token = signer.token(&claims("a", "alice"));
    assert!(ask(&authenticator, &token, NOW).await.is_ok());
    let stricter = Issuer { audiences: Audiences::OneOf(vec!["other".into()]), ..issuer("a") };
    *authenticator.issuers.first_mut().expect("an issuer") = Arc::new(stricter);
    assert_eq!(ask(&authenticator, &token, NOW).await, Err(Reason::WrongAudience));
}

#[tokio::test]
async fn an_unknown_key_asks_once_for_newer_ones_and_a_known_key_never() {
    let (old, new) = (Signer::new("old", "EdDSA"), Signer::new("new", "EdDSA"));
    let keys = Changing::with(&[&old]);
    let authenticator = authenticator(&keys);
    assert!(ask(&authenticator, &old.token(&claims("a", "alice")), NOW).await.is_ok());
    assert_eq!(keys.asked.load(Ordering::Relaxed), 0);
    let token = new.token(&claims("a", "alice"));
    assert_eq!(ask(&authenticator, &token, NOW).await, Err(Reason::UnknownKey));
    *keys.newer.lock().expect("no panic") = Some(set(&[&old, &new]));
    assert_eq!(ask(&authenticator, &token, NOW).await.as_deref(), Ok("a/alice"));
    assert_eq!(keys.asked.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn t_f3_tokens_of_two_subjects_and_issuers_are_never_mixed() {
    let signer = Signer::new("k", "EdDSA");
    let authenticator = authenticator(&Changing::with(&[&signer]));
    for _ in 0..2 {
        for (issuer, subject) in [("a", "alice"), ("a", "bob"), ("b", "alice")] {
            let token = signer.token(&claims(issuer, subject));
            assert_eq!(ask(&authenticator, &token, NOW).await, Ok(format!("{issuer}/{subject}")));
        }
    }
}

#[tokio::test]
async fn the_same_subject_of_two_issuers_is_two_subjects() {
    let signer = Signer::new("k", "EdDSA");
    let authenticator = authenticator(&Changing::with(&[&signer]));
    let bearer = format!("Bearer {}", signer.token(&claims("a", "alice")));
    let cookie = format!("jwt={}", signer.token(&claims("b", "alice")));
    let mut presented = Presented::default();
    presented.authorization.push(bearer.as_bytes());
    presented.cookie.push(cookie.as_bytes());
    let result = authenticator.principal(&CredentialKind::DEFAULT, &presented, &NOTHING, &mut Free, NOW).await;
    assert_eq!(result.map(|_| ()), Err(Reason::ConflictingCredentials));
}

#[test]
fn a_cache_holds_no_more_than_its_bound() {
    let (cache, nothing) = (TokenCache::new(200_000, [1; 16]), TokenCache::new(0, [1; 16]));
    let signer = Signer::new("k", "EdDSA");
    let token = signer.token(&claims("a", "alice"));
    let issuer = Arc::new(issuer("a"));
    let keys = set(&[&signer]);
    for name in 0..1_000_u128 {
        let verified = issuer.verify(UnverifiedToken::parse(&token).expect("a token"), &keys, NOW).expect("good");
        let principal = issuer.principal(&verified, &[]);
        let marks = NoRevocations.marks("", &verified).expect("none");
        let proven = Arc::new(Proven::new(&issuer, 0, &verified, marks, principal, &NOTHING, NOW));
        nothing.put(name, Arc::clone(&proven));
        assert!(nothing.get(name).is_none(), "not even for a moment");
        cache.put(name, proven);
    }
    cache.settle();
    assert!((1..400).contains(&cache.len()), "{}", cache.len());
}

/// Which checks were made, and what came of them.
#[derive(Default)]
struct Seen(Vec<(Check, Option<Reason>)>);

impl Watch for Seen {
    fn made<T>(&mut self, check: Check, result: Result<T, Reason>) -> Result<T, Reason> {
        self.0.push((check, result.as_ref().err().copied()));
        result
    }
}

#[test]
fn every_check_is_seen_once_in_its_order_and_none_after_the_first_that_fails() {
    let signer = Signer::new("k", "EdDSA");
    let authenticator = authenticator(&Changing::with(&[&signer]));
    let mut seen = Seen::default();
    let verdict = authenticator.inspect(&signer.token(&claims("a", "alice")), NOW, &mut seen);
    assert_eq!(verdict, Ok(()));
    assert_eq!(seen.0, Check::ALL.iter().map(|check| (*check, None)).collect::<Vec<_>>());

    let mut seen = Seen::default();
    let verdict = authenticator.inspect(&signer.token(&claims("a", "")), NOW, &mut seen);
    assert_eq!(
        (verdict, seen.0.last().copied()),
        (Err(Reason::NoSubject), Some((Check::Subject, Some(Reason::NoSubject))))
    );
    let mut seen = Seen::default();
    let verdict = authenticator.inspect(&Signer::new("k", "EdDSA").token(&claims("a", "alice")), NOW, &mut seen);
    assert_eq!((verdict, seen.0.len()), (Err(Reason::BadSignature), 6));
    assert_eq!(authenticator.cache_state().hits + authenticator.cache_state().misses, 0, "the cache is not asked");
    authenticator.cache.settle();
    assert!(authenticator.cache.is_empty(), "nothing is remembered");
}

fn asked(opaque: Option<&str>, jwts: bool) -> Option<Asked> {
    Some(Asked { opaque: opaque.map(Into::into), jwts, may_lack_audience: false, may_lack_type: false })
}

fn active(subject: &str) -> Value {
    json!({"active": true, "sub": subject, "aud": "shop", "token_type": "Bearer"})
}

#[tokio::test]
async fn an_opaque_token_is_asked_about_once_until_its_answer_is_old() {
    let issuers = vec![Issuer { asked: asked(Some(""), false), ..issuer("a") }, issuer("b")];
    let asking = Arc::new(Asking::default());
    // No keys: they have no part in this.
    let mut authenticator = with_introspection(issuers, &Arc::default(), &asking);
    asking.says(0, "t/o~k.e+n==", Ok(active("alice")));
    for _ in 0..3 {
        assert_eq!(ask(&authenticator, "t/o~k.e+n==", NOW).await.as_deref(), Ok("a/alice"));
    }
    assert_eq!(asking.count(), 1);
    assert_eq!(ask(&authenticator, "t/o~k.e+n=", NOW).await, Err(Reason::Inactive), "another token");
    assert_eq!(asking.count(), 2);
    asking.says(0, "t/o~k.e+n==", Err(Reason::IntrospectionFailed));
    let later = |secs| NOW.after(Duration::from_secs(secs));
    assert!(ask(&authenticator, "t/o~k.e+n==", later(9)).await.is_ok());
    assert_eq!(ask(&authenticator, "t/o~k.e+n==", later(10)).await, Err(Reason::IntrospectionFailed), "asked again");
    asking.says(0, "t/o~k.e+n==", Ok(active("alice")));
    assert!(ask(&authenticator, "t/o~k.e+n==", later(10)).await.is_ok());
    // With its issuer's configuration the proof dies (T-F2).
    let stricter = Issuer { audiences: Audiences::OneOf(vec!["other".into()]), ..(*authenticator.issuers[0]).clone() };
    authenticator.issuers[0] = Arc::new(stricter);
    assert_eq!(ask(&authenticator, "t/o~k.e+n==", later(11)).await, Err(Reason::WrongAudience));
    for no_token in ["a b", "a\"b", "=", "a=b", "a:b"] {
        assert!(ask(&authenticator, no_token, NOW).await.is_err(), "{no_token}");
    }
    assert_eq!(asking.count(), 5, "what no bearer token looks like is not asked about");
}

#[tokio::test]
async fn t_f2_each_token_is_shown_to_its_own_issuer_only() {
    let with = |name, prefix| Issuer { asked: asked(Some(prefix), false), ..issuer(name) };
    let asking = Arc::new(Asking::default());
    let keys = Changing::with(&[&Signer::new("k", "EdDSA")]);
    let authenticator = with_introspection(vec![with("a", "a_"), issuer("b"), with("c", "c_")], &keys, &asking);
    for index in 0..3 {
        for token in ["a_1", "c_1", "x_1"] {
            asking.says(index, token, Ok(active(&format!("of{index}"))));
        }
    }
    assert_eq!(ask(&authenticator, "a_1", NOW).await.as_deref(), Ok("a/of0"));
    assert_eq!(ask(&authenticator, "c_1", NOW).await.as_deref(), Ok("c/of2"));
    assert_eq!(ask(&authenticator, "x_1", NOW).await, Err(Reason::MalformedToken), "nobody's");
    // A JWT is never taken for an opaque token, whoever signed it.
    let stranger = Signer::new("k", "EdDSA").token(&claims("a", "mallory"));
    assert_eq!(ask(&authenticator, &stranger, NOW).await, Err(Reason::BadSignature));
    assert_eq!(asking.count(), 2);
}

#[tokio::test]
async fn a_jwt_is_asked_about_only_if_it_is_signed() {
    let (signer, stranger) = (Signer::new("k", "EdDSA"), Signer::new("k", "EdDSA"));
    let keys = Changing::with(&[&signer]);
    let asking = Arc::new(Asking::default());
    let issuers = vec![Issuer { asked: asked(None, true), ..issuer("a") }, issuer("b")];
    let authenticator = with_introspection(issuers, &keys, &asking);
    let light = json!({"iss": "https://a", "exp": NOW.secs().saturating_add(5)});
    let token = signer.token(&light);
    asking.says(0, &token, Ok(active("alice")));
    assert_eq!(ask(&authenticator, &token, NOW).await.as_deref(), Ok("a/alice"));
    let (forged, later) = (stranger.token(&light), NOW.after(Duration::from_secs(5)));
    asking.says(0, &forged, Ok(active("mallory")));
    assert_eq!(ask(&authenticator, &forged, NOW).await, Err(Reason::BadSignature));
    assert_eq!(ask(&authenticator, "opaque", NOW).await, Err(Reason::MalformedToken));
    assert_eq!(ask(&authenticator, &token, later).await, Err(Reason::Expired), "its own `exp` counts");
    let mut bound = light.clone();
    bound["cnf"] = json!({"jkt": "x"});
    let bound = signer.token(&bound);
    asking.says(0, &bound, Ok(active("alice")));
    assert_eq!(ask(&authenticator, &bound, NOW).await, Err(Reason::SenderConstrained), "and so does its binding");
    assert_eq!(asking.count(), 2);
    // An issuer that is not asked about them is not asked.
    assert_eq!(ask(&authenticator, &signer.token(&claims("b", "bob")), NOW).await.as_deref(), Ok("b/bob"));
    assert_eq!(asking.count(), 2);
    // The proof dies with the key.
    keys.set(&[&stranger]);
    assert_eq!(ask(&authenticator, &token, NOW).await, Err(Reason::BadSignature));
}

#[test]
fn who_inspects_a_token_asks_no_issuer_and_says_so() {
    let signer = Signer::new("k", "EdDSA");
    let asking = Arc::new(Asking::default());
    let issuers = vec![Issuer { asked: asked(Some(""), true), ..issuer("a") }, issuer("b")];
    let authenticator = with_introspection(issuers, &Changing::with(&[&signer]), &asking);
    let unknown = Err(Reason::IntrospectionFailed);
    for (token, checks) in [("opaque", 2), (&*signer.token(&claims("a", "alice")), 7)] {
        let mut seen = Seen::default();
        assert_eq!(authenticator.inspect(token, NOW, &mut seen), unknown, "{token}");
        assert_eq!((seen.0.len(), seen.0.last().copied()), (checks, Some((Check::Asked, unknown.err()))), "{token}");
    }
    assert_eq!(authenticator.inspect(&signer.token(&claims("b", "bob")), NOW, &mut Seen::default()), Ok(()));
    assert_eq!(asking.count(), 0);
}
