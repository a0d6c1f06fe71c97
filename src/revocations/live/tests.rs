use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::keys::member;
use crate::signer::Signer;
use crate::token::issuer::Audiences;
use crate::token::{Issuer, KeySet, UnverifiedToken};

const NOW: UnixTime = UnixTime::from_secs(1_000_000);
const HOUR: Duration = Duration::from_secs(3600);

fn live() -> Live {
    let live = Live::new(Duration::from_secs(5), WhenStale::Refuse, [9; 16]);
    live.complete_up_to(NOW);
    live
}

fn id(number: u32) -> Id {
    format!("{number:032x}").parse().expect("a name")
}

fn line(number: u32, what: What, value: &str, ends: UnixTime) -> Line {
    let entry = Entry { what, issuer: "https://a".into(), value: value.into(), reason: None };
    Line { id: id(number), ends, entry: Some(entry) }
}

fn removal(line: &Line) -> Line {
    Line { entry: None, ..line.clone() }
}

fn up_to(seconds: i64) -> What {
    What::Subject { issued_before: UnixTime::from_secs(seconds) }
}

/// Verified claims of an issuer, the only way that there is: a signed token.
fn claims(of: &str, changes: &serde_json::Value) -> VerifiedClaims {
    let signer = Signer::new("k", "EdDSA");
    let mut issuer = Issuer::new("a", of, Audiences::Any);
    // Whether a token was issued long ago is what is to be told apart here.
    issuer.terms.max_lifetime = Duration::MAX;
    let key = member::key(&signer.jwk(), &[]).expect("a key");
    let keys: KeySet = [key].into_iter().collect();
    let mut claims = json!({"iss": of, "sub": "alice", "exp": NOW.after(HOUR).secs()});
    claims.as_object_mut().expect("object").extend(changes.as_object().expect("object").clone());
    let token = signer.token(&claims);
    issuer.verify(UnverifiedToken::parse(&token).expect("a token"), &keys, NOW).expect("good")
}

fn marks(live: &Live, changes: &serde_json::Value) -> Marks {
    live.marks("https://a", &claims("https://a", changes)).expect("marks")
}

#[test]
fn a_token_is_hit_by_its_jti_its_sid_and_its_subject_of_its_own_issuer() {
    let token = json!({"jti": "t", "sid": "s", "iat": 900_000});
    for (what, value, hits) in [
        (What::Token, "t", true),
        (What::Token, "s", false),
        (What::Token, "alice", false),
        (What::Session, "s", true),
        (What::Session, "t", false),
        (up_to(999_999), "alice", true),
        (up_to(999_999), "bob", false),
        (up_to(999_999), "t", false),
    ] {
        let live = live();
        live.apply([line(1, what, value, NOW.after(HOUR))], NOW);
        let wanted = if hits { Err(Reason::Revoked) } else { Ok(()) };
        assert_eq!(live.check(&marks(&live, &token), NOW), wanted, "{what:?} {value}");
        let other = live.marks("https://b", &claims("https://b", &token)).expect("marks");
        assert_eq!(live.check(&other, NOW), Ok(()), "another issuer's {what:?} {value}");
    }
}

#[test]
fn a_subjects_tokens_are_hit_up_to_the_very_moment_and_those_without_iat_always() {
    let live = live();
    live.apply(
        [line(1, What::Subject { issued_before: UnixTime::from_micros(900_000_500_000) }, "alice", NOW.after(HOUR))],
        NOW,
    );
    for (iat, hit) in [
        (json!(0), true),
        (json!(900_000), true),
        (json!(900_000.5), true),
        (json!(900_000.500_001), false),
        (json!(900_001), false),
        (json!(null), true),
    ] {
        let changes = if iat.is_null() { json!({}) } else { json!({"iat": iat}) };
        assert_eq!(live.check(&marks(&live, &changes), NOW).is_err(), hit, "{iat}");
    }
}

#[test]
fn a_jti_or_sid_that_is_no_text_is_malformed_and_one_that_is_null_is_absent() {
    let live = live();
    for key in ["jti", "sid"] {
        for bad in [json!(7), json!(["t"]), json!({"t": 1}), json!(true)] {
            let claims = claims("https://a", &json!({key: bad}));
            assert_eq!(live.marks("https://a", &claims), Err(Reason::MalformedClaim));
        }
        assert_eq!(marks(&live, &json!({key: null})), marks(&live, &json!({})));
    }
}

#[test]
fn an_entry_ends_at_its_end_and_its_memory_is_freed() {
    let live = live();
    let token = marks(&live, &json!({"jti": "t"}));
    live.apply([line(1, What::Token, "t", NOW.after(HOUR)), line(2, What::Token, "gone", NOW)], NOW);
    assert_eq!(live.len(), 1, "what has ended is not taken");
    let last = NOW.after(HOUR).before(Duration::from_micros(1));
    live.complete_up_to(last);
    assert_eq!(live.check(&token, last), Err(Reason::Revoked));
    assert_eq!(live.check(&token, NOW.after(HOUR)), Ok(()));
    assert_eq!(live.sweep(Id::FIRST, 10, last), None);
    assert_eq!(live.len(), 1);
    assert_eq!(live.sweep(Id::FIRST, 10, NOW.after(HOUR)), None);
    assert!(live.is_empty() && live.reaches.is_empty() && live.line(id(1)).is_none());
    // In steps, and only what has ended.
    live.apply((1..=9).map(|n| line(n, up_to(1), "bob", NOW.after(HOUR.saturating_mul(n % 3)))), NOW);
    let (mut from, mut steps) = (Some(Id::FIRST), 0);
    while let Some(id) = from {
        (from, steps) = (live.sweep(id, 2, NOW.after(HOUR)), steps + 1);
    }
    assert_eq!((steps, live.len(), live.removals()), (3, 3, 0));
    assert_eq!(live.check(&marks(&live, &json!({"sub": "bob", "iat": 1})), NOW.after(HOUR)), Err(Reason::Revoked));
}

#[test]
fn of_several_entries_the_rest_still_hits_when_one_is_taken_back() {
    let live = live();
    let old = line(1, up_to(900_000), "alice", NOW.after(HOUR));
    let new = line(2, up_to(950_000), "alice", NOW.after(HOUR * 2));
    live.apply([old.clone(), new.clone(), line(3, up_to(990_000), "bob", NOW.after(HOUR))], NOW);
    let issued = |at: i64| live.check(&marks(&live, &json!({"iat": at})), NOW);
    assert_eq!((issued(900_000), issued(950_000)), (Err(Reason::Revoked), Err(Reason::Revoked)));
    live.apply([removal(&new)], NOW);
    assert_eq!((issued(900_000), issued(900_001)), (Err(Reason::Revoked), Ok(())));
    live.apply([removal(&old)], NOW);
    assert_eq!(issued(0), Ok(()));
    // A removal that came first wins, too.
    live.apply([removal(&line(9, What::Token, "t", NOW.after(HOUR)))], NOW);
    live.apply([line(9, What::Token, "t", NOW.after(HOUR)), old, new], NOW);
    assert_eq!(live.len(), 1);
    assert_eq!(live.check(&marks(&live, &json!({"jti": "t", "iat": 0})), NOW), Ok(()));
}

#[test]
fn what_nobody_knows_is_refused_unless_the_operator_says_otherwise() {
    let live = Live::new(Duration::from_secs(5), WhenStale::Refuse, [9; 16]);
    let daring = Live::new(Duration::from_secs(5), WhenStale::GoOn, [9; 16]);
    let token = marks(&live, &json!({"jti": "t"}));
    assert_eq!((live.age(NOW), live.check(&token, NOW)), (None, Err(Reason::RevocationsStale)));
    assert_eq!(daring.check(&token, NOW), Ok(()));
    live.complete_up_to(NOW);
    for (now, fresh) in
        [(NOW, true), (NOW.after(Duration::from_secs(5)), true), (NOW.after(Duration::from_micros(5_000_001)), false)]
    {
        assert_eq!(live.check(&token, now).is_ok(), fresh);
    }
    // A clock that was set back.
    assert_eq!(live.check(&token, NOW.before(HOUR)), Err(Reason::RevocationsStale));
    // What is known to be revoked is said to be, however old the rest is.
    live.apply([line(1, What::Token, "t", NOW.after(HOUR))], NOW);
    daring.apply([line(1, What::Token, "t", NOW.after(HOUR))], NOW);
    let later = NOW.after(Duration::from_secs(60));
    assert_eq!(
        (live.check(&token, later), daring.check(&marks(&daring, &json!({"jti": "t"})), later)),
        (Err(Reason::Revoked), Err(Reason::Revoked))
    );
}

#[test]
fn what_the_store_lost_is_known_after_a_comparison_newest_first() {
    let live = live();
    live.apply((1..=10).map(|n| line(n, What::Token, "t", NOW.after(HOUR))), NOW);
    live.apply([removal(&line(10, What::Token, "t", NOW.after(HOUR)))], NOW);
    live.compare();
    let again = |n| line(n, What::Token, "t", NOW.after(HOUR));
    live.apply([2, 3].map(again), NOW);
    live.take([5, 10].map(|n| again(n).written()).to_vec(), NOW).expect("readable");
    live.take(vec![again(11).written()], NOW).expect("readable");
    let first = live.unseen(Id::LAST, 4);
    assert_eq!(first.iter().map(|line| line.id).collect::<Vec<_>>(), [10, 9, 8, 7].map(id));
    assert_eq!(first.first().map(|line| line.entry.is_none()), Some(true), "removals are written back, too");
    assert_eq!(live.unseen(id(7), 4).iter().map(|line| line.id).collect::<Vec<_>>(), [6, 4, 1].map(id));
    // A removal that the store has and we do not.
    live.take(vec![removal(&again(11)).written()], NOW).expect("readable");
    assert_eq!(live.line(id(11)).map(|line| line.entry), Some(None));
    // What is known is not read again, what is not known must be readable.
    let broken =
        |n: u32| Written::new(&format!("{n:032x}"), NOW.after(HOUR).micros(), "{}".to_owned()).expect("a name");
    assert!(live.take(vec![broken(2)], NOW).is_ok() && live.take(vec![broken(12)], NOW).is_err());
}

#[test]
fn lists_are_pages_of_what_the_filter_lets_through() {
    let live = live();
    let subjects = (1..=6).map(|n| line(n, up_to(1), if n % 2 == 0 { "alice" } else { "bob" }, NOW.after(HOUR)));
    live.apply(subjects.chain([line(7, What::Token, "alice", NOW.after(HOUR))]), NOW);
    live.apply([removal(&line(4, up_to(1), "alice", NOW.after(HOUR)))], NOW);
    let ids = |filter: &Filter<'_>, after, most| {
        live.list(filter, after, most).iter().map(|line| line.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(&Filter::default(), Id::FIRST, 100), [1, 2, 3, 5, 6, 7].map(id));
    assert_eq!(ids(&Filter::default(), id(2), 2), [3, 5].map(id));
    let alice = Filter { issuer: Some("https://a"), value: Some(("subject", "alice")) };
    assert_eq!(ids(&alice, Id::FIRST, 100), [2, 6].map(id));
    assert!(ids(&Filter { issuer: Some("https://b"), value: None }, Id::FIRST, 100).is_empty());
}

proptest! {
    /// Whatever the order, and however often each line comes.
    #[test]
    fn lines_merge_in_any_order(shuffled in Just((0_u32..24).collect::<Vec<_>>()).prop_shuffle(), again in proptest::collection::vec(0_u32..24, 0..12)) {
        // Eight entries of four marks, each added twice and half of them removed.
        let change = |number: u32| {
            let entry = number % 8;
            let added = line(entry, up_to(i64::from(entry)), ["alice", "bob", "carol", "dave"][entry as usize % 4], NOW.after(HOUR.saturating_mul(entry.saturating_add(1))));
            if number >= 16 && entry % 2 == 1 { removal(&added) } else { added }
        };
        let (one, other) = (live(), live());
        one.apply((0..24).map(change), NOW);
        other.apply(shuffled.iter().chain(&again).map(|number| change(*number)), NOW);
        prop_assert_eq!(one.list(&Filter::default(), Id::FIRST, 100), other.list(&Filter::default(), Id::FIRST, 100));
        prop_assert_eq!(one.len(), 4);
        for name in ["alice", "bob", "carol", "dave"] {
            let reach = |live: &Live| live.reaches.of(live.mark("subject", "https://a", name)).map(|it| (it.until, it.issued));
            prop_assert_eq!(reach(&one), reach(&other));
        }
    }
}

#[test]
fn issuers_are_kept_once() {
    let live = live();
    live.apply((1..=3).map(|n| line(n, What::Token, "t", NOW.after(HOUR))), NOW);
    let known = live.known();
    let issuers: Vec<_> = known.lines.values().filter_map(|held| Some(&held.entry.as_ref()?.issuer)).collect();
    assert!(issuers.windows(2).all(|pair| Arc::ptr_eq(pair[0], pair[1])));
}
