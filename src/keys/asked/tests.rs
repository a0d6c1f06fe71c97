use super::*;

fn state() -> State {
    Asked::default().state.into_inner().expect("no panic")
}

/// Ends a fetch at `at`.
fn fetched(state: &mut State, at: Instant) {
    state.wanted = false;
    state.fetching = false;
    state.last_end = Some(at);
}

#[test]
fn whoever_comes_while_a_fetch_runs_waits_for_it_and_causes_none() {
    let (mut state, now) = (state(), Instant::now());
    assert_eq!((state.turn(1, now), state.wanted, state.tokens), (Turn::Wait, true, BUDGET - 1));
    for name in 2..100 {
        assert_eq!(state.turn(name, now), Turn::Wait);
    }
    state.fetching = true;
    state.wanted = false;
    assert_eq!((state.turn(100, now), state.wanted, state.tokens), (Turn::Wait, false, BUDGET - 1));
}

#[test]
fn only_so_many_wait() {
    let (mut state, now) = (state(), Instant::now());
    let turns = (0..1000).filter(|name| state.turn(*name, now) == Turn::Wait).count();
    assert_eq!(turns, MOST_WAITING);
}

#[test]
fn a_flood_of_names_causes_the_budget_and_then_one_in_ten_seconds() {
    let (mut state, begin) = (state(), Instant::now());
    let mut fetches = 0;
    // A minute, a new name each 10 ms, each fetch done at once.
    for step in 0..6000_u64 {
        let now = begin + Duration::from_millis(10 * step);
        state.turn(step, now);
        if std::mem::take(&mut state.wanted) {
            fetches += 1;
            fetched(&mut state, now);
        }
    }
    assert!((BUDGET + 5..=BUDGET + 6).contains(&fetches), "{fetches}");
}

#[test]
fn after_a_fetch_the_next_is_called_for_and_not_waited_for() {
    let (mut state, now) = (state(), Instant::now());
    fetched(&mut state, now);
    assert_eq!((state.turn(1, now + GAP / 2), state.wanted), (Turn::Leave, true));
    let mut state = self::state();
    fetched(&mut state, now);
    assert_eq!((state.turn(1, now + GAP), state.wanted), (Turn::Wait, true));
}

#[test]
fn a_name_that_was_not_found_uses_up_no_budget_for_a_while() {
    let (mut state, now) = (state(), Instant::now());
    state.remember(7, now);
    assert_eq!((state.turn(7, now + ABSENT_FOR / 2), state.wanted), (Turn::Leave, false));
    assert_eq!((state.turn(7, now + ABSENT_FOR), state.wanted), (Turn::Wait, true));
    for name in 0..10_000 {
        state.remember(name, now);
    }
    assert!(state.absent.len() <= MOST_ABSENT);
}

#[tokio::test]
async fn an_answered_kick_starts_nothing() {
    let asked = Asked::default();
    let waiting = asked.wait_for("k");
    let serve = async {
        asked.wanted().await;
        asked.begin();
        asked.end();
    };
    let (answered, ()) = tokio::join!(waiting, serve);
    assert!(answered);
    asked.kick.notify_one();
    assert!(tokio::time::timeout(Duration::from_millis(20), asked.wanted()).await.is_err());
}
