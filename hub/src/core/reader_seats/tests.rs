use proptest::prelude::*;

use super::*;

fn reader(id: u64, epoch: Option<i64>) -> Seated<()> {
    Seated { id: ReaderId(id), epoch, reader: () }
}

fn ids(seated: impl IntoIterator<Item = ReaderId>) -> Vec<u64> {
    seated.into_iter().map(|id| id.0).collect()
}

/// Sits down, and says who had to go.
fn sit(seats: &mut ReaderSeats<()>, id: u64, epoch: Option<i64>) -> Result<Vec<u64>, NoReaderSeat> {
    seats.sit(reader(id, epoch)).map(|gone| ids(gone.into_iter().map(|seated| seated.id)))
}

#[test]
fn five_sit_beside_each_other_and_a_sixth_waits_for_one_to_leave() {
    let mut seats = ReaderSeats::default();
    for id in 0..5 {
        assert_eq!(sit(&mut seats, id, None), Ok(vec![]));
    }
    assert_eq!(sit(&mut seats, 5, None), Err(NoReaderSeat::Full));
    assert!(seats.leave(ReaderId(2)).is_some());
    assert!(seats.leave(ReaderId(2)).is_none());
    assert_eq!(sit(&mut seats, 6, None), Ok(vec![]));
    assert_eq!(ids(seats.iter().map(|seated| seated.id)), [0, 1, 3, 4, 6]);
}

#[test]
fn an_epoch_ends_all_that_have_none_and_is_ended_by_an_equal_or_a_higher_one() {
    let mut seats = ReaderSeats::default();
    for id in 0..5 {
        sit(&mut seats, id, None).unwrap();
    }
    assert_eq!(sit(&mut seats, 5, Some(0)), Ok(vec![0, 1, 2, 3, 4]));
    assert_eq!(sit(&mut seats, 6, Some(0)), Ok(vec![5]), "an equal one steals");
    assert_eq!(sit(&mut seats, 7, None), Err(NoReaderSeat::EpochReaderLives));
    assert_eq!(sit(&mut seats, 8, Some(3)), Ok(vec![6]));
    assert_eq!(sit(&mut seats, 9, Some(2)), Err(NoReaderSeat::HigherEpoch { epoch: 3 }));
    assert!(seats.leave(ReaderId(8)).is_some());
    assert_eq!(sit(&mut seats, 10, Some(-1)), Ok(vec![]), "an epoch is not remembered");
    seats.leave(ReaderId(10));
    assert_eq!(sit(&mut seats, 11, None), Ok(vec![]));
}

#[derive(Clone, Debug)]
enum Step {
    Sit(Option<i64>),
    Leave(prop::sample::Index),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let epoch = prop_oneof![2 => Just(None), 3 => (-1_i64..3).prop_map(Some), 1 => any::<i64>().prop_map(Some)];
    let step = prop_oneof![3 => epoch.prop_map(Step::Sit), 1 => any::<prop::sample::Index>().prop_map(Step::Leave)];
    prop::collection::vec(step, 0..60)
}

proptest! {
    /// Whatever happens: who sits is either one with an epoch, or up to five without; a newcomer is refused exactly by the three rules; who
    /// had to go had no higher epoch; and nobody is lost sight of.
    #[test]
    fn seats_keep_their_rules(steps in steps()) {
        let mut seats = ReaderSeats::default();
        let mut model: Vec<(u64, Option<i64>)> = Vec::new();
        for (id, step) in (0..).zip(steps) {
            match step {
                Step::Leave(index) if !model.is_empty() => {
                    let (gone, _) = model.remove(index.index(model.len()));
                    prop_assert_eq!(seats.leave(ReaderId(gone)).map(|seated| seated.id), Some(ReaderId(gone)));
                }
                Step::Leave(_) => prop_assert!(seats.leave(ReaderId(id)).is_none()),
                Step::Sit(epoch) => {
                    let highest = model.iter().filter_map(|(_, epoch)| *epoch).max();
                    let refused = match epoch {
                        None if highest.is_some() => Some(NoReaderSeat::EpochReaderLives),
                        None => (model.len() == READERS_MAX).then_some(NoReaderSeat::Full),
                        Some(own) => highest.filter(|highest| *highest > own).map(|epoch| NoReaderSeat::HigherEpoch { epoch }),
                    };
                    match (sit(&mut seats, id, epoch), refused) {
                        (Ok(gone), None) => {
                            let left: Vec<u64> = if epoch.is_some() { model.drain(..).map(|(id, _)| id).collect() } else { vec![] };
                            prop_assert_eq!(gone, left);
                            model.push((id, epoch));
                        }
                        (answer, expected) => prop_assert_eq!(answer.err(), expected),
                    }
                }
            }
            let sitting: Vec<_> = seats.iter().map(|seated| (seated.id.0, seated.epoch)).collect();
            prop_assert_eq!(&sitting, &model);
            let alone = seats.iter().filter(|seated| seated.epoch.is_some()).count();
            let max = if alone > 0 { 1 } else { READERS_MAX };
            prop_assert!(seats.len() <= max && alone <= 1, "{} sit, {} of them alone", seats.len(), alone);
        }
    }
}
