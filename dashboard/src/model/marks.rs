//! Facts on an axis: those that are nearer to each other than their signs are wide share one sign, with their number.

use super::format::count;
use super::state::Look;
use super::time::Moment;
use super::timeline::{Entry, Kind};

/// A sign on the axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    /// When the first of them was, which is where it is drawn.
    pub from: Moment,
    /// When the last of them was.
    pub until: Moment,
    /// Which part of the story.
    pub kind: Kind,
    /// How the worst of them is shown; of equals, the last.
    pub look: Look,
    /// What that one is.
    pub text: String,
    /// How many they are.
    pub count: u64,
}

impl Mark {
    /// For people.
    #[must_use]
    pub fn title(&self) -> String {
        let Self { from, until, text, count: facts, .. } = self;
        if *facts == 1 {
            return format!("{}: {text}", from.clock());
        }
        format!("{} to {}: {}, among them: {text}", from.clock(), until.clock(), count(*facts, "fact", "facts"))
    }

    fn share(&mut self, entry: &Entry) {
        self.until = entry.time;
        self.count += 1;
        if entry.look.tone.urgency() <= self.look.tone.urgency() {
            (self.look, self.text) = (entry.look, entry.text.clone());
        }
    }
}

/// The marks of these, which are the newest first: those of a kind are at least `apart_ms` from each other, in the order of time. They are counted
/// from the oldest on, so that none changes its place because time goes on.
#[must_use]
pub fn marks(entries: &[Entry], apart_ms: i64) -> Vec<Mark> {
    let mut marks = Vec::<Mark>::new();
    let mut last = [None::<usize>; Kind::ALL.len()];
    for entry in entries.iter().rev() {
        let Some(last) = last.get_mut(entry.kind as usize) else { continue };
        match last.and_then(|index| marks.get_mut(index)).filter(|mark| entry.time.0 - mark.from.0 < apart_ms) {
            Some(mark) => mark.share(entry),
            None => {
                *last = Some(marks.len());
                let Entry { time, kind, look, ref text, .. } = *entry;
                marks.push(Mark { from: time, until: time, kind, look, text: text.clone(), count: 1 });
            }
        }
    }
    marks
}

#[cfg(test)]
mod tests {
    use super::super::state::{REFUSED, REGISTRY};
    use super::*;

    fn at(time: i64, kind: Kind, look: Look) -> Entry {
        let text = format!("what happened at {time}");
        Entry { key: String::new(), time: Moment(time), kind, look, text, meta: String::new(), side: String::new(), steps: Vec::new() }
    }

    #[test]
    fn what_is_near_shares_a_mark_with_others_of_its_kind_and_looks_like_the_worst() {
        let story = [
            at(40_000, Kind::SignIn, REFUSED),
            at(14_000, Kind::Registry, REGISTRY),
            at(13_000, Kind::SignIn, REFUSED),
            at(9_000, Kind::Registry, REFUSED),
            at(5_000, Kind::Registry, REGISTRY),
        ];
        let marks = marks(&story, 9_000);
        let told: Vec<_> = marks.iter().map(|mark| (mark.from.0, mark.kind, mark.look, mark.count)).collect();
        assert_eq!(
            told,
            [
                (5_000, Kind::Registry, REFUSED, 2),
                (13_000, Kind::SignIn, REFUSED, 1),
                (14_000, Kind::Registry, REGISTRY, 1),
                (40_000, Kind::SignIn, REFUSED, 1)
            ]
        );
        assert_eq!(marks[0].title(), "00:00:05 to 00:00:09: 2 facts, among them: what happened at 9000");
        assert_eq!(marks[3].title(), "00:00:40: what happened at 40000");
    }

    #[test]
    fn a_newer_fact_leaves_all_marks_before_it_where_they_are() {
        let mut story: Vec<_> = (0..500).rev().map(|step| at(step * 700, Kind::Command, REGISTRY)).collect();
        let before = marks(&story, 5_000);
        story.insert(0, at(500 * 700, Kind::Command, REGISTRY));
        let after = marks(&story, 5_000);
        assert_eq!(before[..before.len() - 1], after[..before.len() - 1]);
        assert!(after.windows(2).all(|pair| pair[1].from.0 - pair[0].from.0 >= 5_000));
        assert_eq!(after.iter().map(|mark| mark.count).sum::<u64>(), 501);
    }
}
