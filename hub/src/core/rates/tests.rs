use proptest::prelude::*;

use super::*;

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

fn connects(total: u64) -> Totals {
    let mut totals = Totals::default();
    totals.set(Counted::Connects, [total]);
    totals
}

fn connected(connected: u32) -> Gauges {
    Gauges { connected, ..Gauges::default() }
}

fn sums(span: &Span) -> u64 {
    span.steps.iter().map(|step| u64::from(step.counts.one(Counted::Connects))).sum()
}

#[test]
fn columns_do_not_overlap_and_fill_the_row() {
    let all = [
        Counted::Connects,
        Counted::Disconnects,
        Counted::EventMessages,
        Counted::EventBytes,
        Counted::CommandsEnqueued,
        Counted::CommandBytes,
        Counted::CommandsDelivered,
        Counted::CommandsEnded,
        Counted::ReceiptsMade,
        Counted::ReceiptsRead,
        Counted::ReceiptsLost,
        Counted::Refusals,
        Counted::Throttled,
        Counted::EnqueuedToDelivered,
        Counted::DeliveredToCompleted,
        Counted::EnqueuedToCompleted,
    ];
    let columns: Vec<usize> = all.into_iter().flat_map(Counted::columns).collect();
    assert_eq!(columns, (0..COLUMNS).collect::<Vec<_>>());
    let mut row = Counts::default();
    row.set(Counted::Refusals, vec![7; 2 * REFUSAL_REASONS_MAX]);
    assert_eq!((row.of(Counted::Refusals).len(), row.one(Counted::Throttled), row.one(Counted::ReceiptsLost)), (REFUSAL_REASONS_MAX, 0, 0));
}

#[test]
fn the_last_second_slides_and_a_second_that_is_over_is_told_once() {
    let mut history = History::default();
    let mut finished = Vec::new();
    for look in 0..=12_i64 {
        let found = history.look(UnixMillis(NOW.0 + look * 250), connects(10 * look as u64), connected(look as u32));
        if look >= 4 {
            assert_eq!(found.last.counts.one(Counted::Connects), 40);
        }
        assert_eq!(found.last.gauges.connected, look as u32);
        finished.extend(found.finished.map(|(start, step)| (start.0 - NOW.0, step.counts.one(Counted::Connects))));
    }
    assert_eq!(finished, [(0, 40), (1000, 40)], "what came between 750 and 1000 ms is of the first second");
}

#[test]
fn a_time_in_which_nobody_looked_is_empty_and_a_clock_that_goes_back_a_little_loses_nothing() {
    let mut history = History::default();
    history.look(NOW, connects(1), connected(5));
    history.look(UnixMillis(NOW.0 + 10_000), connects(4), connected(6));
    let span = history.since(NOW, UnixMillis(NOW.0 + 10_000)).unwrap();
    let found: Vec<_> = span.steps.iter().map(|step| (step.counts.one(Counted::Connects), step.gauges.connected)).collect();
    assert_eq!(found, [(1, 5), (0, 5), (0, 5), (0, 5), (0, 5), (3, 6)], "three in the middle of what nobody saw");
    history.look(UnixMillis(NOW.0 + 4_500), connects(9), connected(7));
    let span = history.since(NOW, NOW).unwrap();
    assert_eq!((sums(&span), span.steps.last().unwrap().gauges.connected), (9, 7));
}

#[test]
fn a_quarter_of_an_hour_is_fine_and_a_day_coarse() {
    let mut history = History::default();
    let end = UnixMillis(NOW.0 + 2 * 86_400_000);
    let looks = (0..=2 * 86_400_i64).map(|second| UnixMillis(NOW.0 + second * 1000));
    for (count, at) in looks.enumerate() {
        history.look(at, connects(count as u64), connected(1));
    }
    let fine = history.since(UnixMillis(end.0 - 900_000), end).unwrap();
    assert_eq!((fine.step, fine.steps.len()), (FINE.step, 900));
    assert_eq!(fine.steps.iter().map(|step| step.counts.one(Counted::Connects)).max(), Some(1));
    let coarse = history.since(UnixMillis(0), end).unwrap();
    assert_eq!((coarse.step, coarse.steps.len()), (COARSE.step, COARSE.room));
    assert_eq!(coarse.steps[7].counts.one(Counted::Connects), 20);
    assert_eq!(coarse.start.0, end.0 - COARSE.room as i64 * 20_000, "what was counted last lies before the end");
    assert_eq!(History::default().since(NOW, NOW), None);
}

proptest! {
    /// However irregular the looks are: no count is lost or doubled within the reach, and the steps are without gaps and bounded.
    #[test]
    fn every_count_is_in_one_step(looks in proptest::collection::vec((0..5_000_i64, 0..1_000_u64), 1..150)) {
        let (mut history, mut now, mut total) = (History::default(), NOW, 0);
        let mut told = 0;
        for (pause, more) in looks {
            (now, total) = (UnixMillis(now.0 + pause), total + more);
            let found = history.look(now, connects(total), connected(0));
            told += found.finished.map_or(0, |(_, step)| u64::from(step.counts.one(Counted::Connects)));
        }
        let (fine, coarse) = (history.since(NOW, now).unwrap(), history.since(UnixMillis(0), now).unwrap());
        prop_assert_eq!(sums(&coarse), total);
        prop_assert!(fine.steps.len() <= FINE.room && coarse.steps.len() <= COARSE.room);
        if now.since(NOW) < FINE.reach() {
            prop_assert_eq!(sums(&fine), total);
            let running = fine.steps.last().map_or(0, |step| u64::from(step.counts.one(Counted::Connects)));
            prop_assert_eq!(told + running, total);
            prop_assert_eq!(fine.start.0 + (fine.steps.len() as i64 - 1) * 1000, history.fine.newest * 1000);
        }
    }
}

/// What lies ahead of a clock that was set back is forgotten; what lies behind it stays, and what is counted now is of now.
#[test]
fn a_clock_that_is_set_back_begins_new_steps() {
    let mut history = History::default();
    let at = |second: i64| UnixMillis(NOW.0 + second * 1000);
    for second in 0..100 {
        history.look(at(second), connects(second as u64), connected(1));
    }
    for second in 1..=30 {
        history.look(at(40 + second), connects(99 + 10 * second as u64), connected(2));
    }
    let span = history.since(at(0), at(70)).unwrap();
    let counted: Vec<u32> = span.steps.iter().map(|step| step.counts.one(Counted::Connects)).collect();
    assert_eq!((span.start, counted.len(), &counted[30..40]), (at(0), 70, &[1; 10][..]));
    assert!(counted[42..].iter().all(|count| *count <= 20), "{counted:?}");
    history.look(UnixMillis(at(69).0 + 900), connects(400), connected(3));
    assert_eq!(history.since(at(0), at(70)).unwrap().steps.len(), 70, "a little is nothing");
    history.look(UnixMillis(0), connects(500), connected(4));
    history.look(UnixMillis(1000), connects(501), connected(4));
    let span = history.since(UnixMillis(0), UnixMillis(1000)).unwrap();
    assert_eq!((span.start, sums(&span)), (UnixMillis(0), 101));
}
