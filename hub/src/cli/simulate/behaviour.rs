//! Which device of a fleet has which habits. Pure: the same seed, the same fleet.

use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;

use super::arguments::{Flap, Share, Sleep};

/// What is asked of a fleet.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Habits {
    pub(super) sleep: Option<Sleep>,
    pub(super) flap: Option<Flap>,
    /// Of all devices.
    pub(super) ignore: Share,
    /// Of all devices.
    pub(super) refuse: Share,
    /// Of those that neither ignore nor refuse.
    pub(super) answer: Share,
}

/// What one device is like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Behaviour {
    /// How long it is awake, and how long asleep, by turns.
    pub(super) sleep: Option<(Duration, Duration)>,
    /// How long its connection mostly holds.
    pub(super) flap: Option<Duration>,
    pub(super) on_command: OnCommand,
}

/// What a device does with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnCommand {
    /// PUBACK, which completes it.
    Complete,
    /// PUBACK, and a message that answers it.
    Answer,
    /// Nothing: no PUBACK, so the hub delivers it again when its lock has run out.
    Ignore,
    /// Reject it. MQTT 3.1.1 has no way to: such a device does not subscribe, and fetches and rejects its commands over HTTPS.
    Refuse,
}

/// More devices ignore and refuse than there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the shares of --ignore and --refuse are more than all devices together")]
pub(super) struct TooManyHabits;

/// The behaviour of each of `count` devices, in the order of their numbers. Habits are dealt out independently of each other.
pub(super) fn deal(habits: &Habits, count: usize, seed: u64) -> Result<Vec<Behaviour>, TooManyHabits> {
    let (ignoring, refusing) = (habits.ignore.of(count), habits.refuse.of(count));
    if ignoring + refusing > count {
        return Err(TooManyHabits);
    }
    let answering = habits.answer.of(count - ignoring - refusing);
    let mut fleet = vec![Behaviour { sleep: None, flap: None, on_command: OnCommand::Complete }; count];
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut numbers: Vec<usize> = (0..count).collect();
    if let Some(sleep) = habits.sleep {
        numbers.shuffle(&mut rng);
        numbers[..sleep.share.of(count)].iter().for_each(|&number| fleet[number].sleep = Some((sleep.awake, sleep.asleep)));
    }
    if let Some(flap) = habits.flap {
        numbers.shuffle(&mut rng);
        numbers[..flap.share.of(count)].iter().for_each(|&number| fleet[number].flap = Some(flap.holds));
    }
    numbers.shuffle(&mut rng);
    for (place, &number) in numbers.iter().enumerate() {
        fleet[number].on_command = match place {
            place if place < ignoring => OnCommand::Ignore,
            place if place < ignoring + refusing => OnCommand::Refuse,
            place if place < ignoring + refusing + answering => OnCommand::Answer,
            _ => OnCommand::Complete,
        };
    }
    Ok(fleet)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn habits() -> Habits {
        Habits {
            sleep: Some("20%".parse().unwrap()),
            flap: Some("10%:1s".parse().unwrap()),
            ignore: "5%".parse().unwrap(),
            refuse: "10%".parse().unwrap(),
            answer: "50%".parse().unwrap(),
        }
    }

    #[test]
    fn shares_are_dealt_out_exactly_and_by_seed() {
        let fleet = deal(&habits(), 100, 7).unwrap();
        let count = |has: fn(&Behaviour) -> bool| fleet.iter().filter(|device| has(device)).count();
        assert_eq!(count(|device| device.sleep.is_some()), 20);
        assert_eq!(count(|device| device.flap.is_some()), 10);
        assert_eq!(count(|device| device.on_command == OnCommand::Ignore), 5);
        assert_eq!(count(|device| device.on_command == OnCommand::Refuse), 10);
        assert_eq!(count(|device| device.on_command == OnCommand::Answer), 43);
        assert_eq!(fleet, deal(&habits(), 100, 7).unwrap());
        assert_ne!(fleet, deal(&habits(), 100, 8).unwrap());
    }

    #[test]
    fn nobody_can_do_both() {
        let habits = Habits { ignore: Share::ALL, refuse: "1%".parse().unwrap(), ..Habits::default() };
        assert_eq!(deal(&habits, 10, 0), Err(TooManyHabits));
        assert_eq!(deal(&Habits::default(), 0, 0), Ok(Vec::new()));
    }
}
