use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;

use super::*;

fn state() -> State {
    Asked::default().state.into_inner().expect("no panic")
}

/// The wanted fetch is done at once.
fn fetched(state: &mut State) {
    state.begun = state.begun.saturating_add(1);
    state.wanted = false;
    state.fetching = false;
}

#[test]
fn whoever_comes_while_a_fetch_runs_waits_for_it_and_causes_none() {
    let (mut state, now) = (state(), Instant::now());
    assert_eq!((state.turn(1, now), state.wanted, state.budget), (true, true, BUDGET - 1));
    for name in 2..100 {
        assert!(state.turn(name, now));
    }
    state.fetching = true;
    state.wanted = false;
    assert_eq!((state.turn(100, now), state.wanted, state.budget), (true, false, BUDGET - 1));
}

#[test]
fn t_h2_a_flood_of_names_causes_the_budget_and_then_one_in_eight_seconds() {
    let (mut state, begin) = (state(), Instant::now());
    let mut fetches = 0;
    // A minute, a new name each 10 ms, each fetch done at once.
    for step in 0..6000_u64 {
        state.turn(step, begin + Duration::from_millis(10 * step));
        if state.wanted {
            fetches += 1;
            fetched(&mut state);
        }
    }
    assert_eq!(fetches, BUDGET + 60 / 8);
}

#[test]
fn a_name_that_was_not_found_uses_up_no_budget_for_a_while() {
    let (mut state, now) = (state(), Instant::now());
    state.remember(7, now);
    assert_eq!((state.turn(7, now + ABSENT_FOR / 2), state.wanted), (false, false));
    assert_eq!((state.turn(7, now + ABSENT_FOR), state.wanted), (true, true));
    for name in 0..10_000 {
        state.remember(name, now);
    }
    assert!(state.absent.len() <= MOST_ABSENT);
}

/// Fetches whenever it is wanted; each time it does not take long, and the last time brings the key.
async fn serve(asked: &Asked, there: &AtomicBool, times: usize) {
    for time in 1..=times {
        asked.wanted().await;
        asked.begin();
        tokio::task::yield_now().await;
        there.store(time == times, Ordering::SeqCst);
        asked.end(true);
    }
}

fn finder(there: &Arc<AtomicBool>) -> impl Fn() -> Option<()> + use<> {
    let there = Arc::clone(there);
    move || there.load(Ordering::SeqCst).then_some(())
}

#[tokio::test]
async fn only_so_many_wait() {
    let (asked, there) = (Asked::default(), Arc::new(AtomicBool::new(false)));
    let names: Vec<String> = (0..1000).map(|name| name.to_string()).collect();
    let all = join_all(names.iter().map(|name| asked.wait_for(name, finder(&there))));
    let (answers, ()) = tokio::join!(all, serve(&asked, &there, 1));
    assert_eq!(answers.into_iter().flatten().count(), MOST_WAITING);
    assert_eq!(asked.state().waiting, 0);
}

#[tokio::test]
async fn what_a_fetch_under_way_does_not_bring_the_next_one_may() {
    let (asked, there) = (Asked::default(), Arc::new(AtomicBool::new(false)));
    asked.begin();
    let fetches = async {
        tokio::task::yield_now().await;
        // Begun before anybody asked: it tells nothing about the name.
        asked.end(true);
        serve(&asked, &there, 1).await;
    };
    let (answer, ()) = tokio::join!(asked.wait_for("new", finder(&there)), fetches);
    assert_eq!(answer, Some(()));
    assert!(asked.state().absent.is_empty());
}

#[tokio::test]
async fn only_a_fetch_that_brought_keys_shows_that_there_is_none_of_a_name() {
    for (brought, remembered) in [(true, 1), (false, 0)] {
        let asked = Asked::default();
        let fetch = async {
            asked.wanted().await;
            asked.begin();
            asked.end(brought);
        };
        let (answer, ()) = tokio::join!(asked.wait_for("forged", || None::<()>), fetch);
        assert_eq!((answer, asked.state().absent.len()), (None, remembered));
    }
}

#[tokio::test]
async fn what_is_there_meanwhile_causes_nothing() {
    let asked = Asked::default();
    assert_eq!(asked.wait_for("here", || Some(())).await, Some(()));
    assert!(!asked.state().wanted);
}

#[tokio::test]
async fn an_answered_kick_starts_nothing() {
    let (asked, there) = (Asked::default(), Arc::new(AtomicBool::new(false)));
    let (answer, ()) = tokio::join!(asked.wait_for("k", finder(&there)), serve(&asked, &there, 1));
    assert_eq!(answer, Some(()));
    asked.kick.notify_one();
    assert!(tokio::time::timeout(Duration::from_millis(20), asked.wanted()).await.is_err());
}
