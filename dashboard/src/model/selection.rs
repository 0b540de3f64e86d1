//! Which devices somebody has chosen: one by one, or all that fit the filter but for some. Never a hundred thousand ids.

use super::format::{count, duration, exact};
use super::hub::ActionResults;
use super::payload::harmless;

/// A choice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// All that fit the filter.
    all: bool,
    /// Those that are chosen, or with `all` those that are not, in their order.
    ids: Vec<String>,
}

impl Selection {
    /// All that fit the filter.
    #[must_use]
    pub fn all() -> Self {
        Self { all: true, ids: Vec::new() }
    }

    /// Whether it is more than was clicked on.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.all
    }

    /// Whether it has this one.
    #[must_use]
    pub fn contains(&self, id: &str) -> bool {
        self.all != self.place(id).is_ok()
    }

    /// Takes one in, or lets it go.
    pub fn toggle(&mut self, id: &str) {
        match self.place(id) {
            Ok(place) => drop(self.ids.remove(place)),
            Err(place) => self.ids.insert(place, id.to_owned()),
        }
    }

    fn place(&self, id: &str) -> Result<usize, usize> {
        self.ids.binary_search_by(|found| found.as_str().cmp(id))
    }

    /// How many it has, when so many fit the filter.
    #[must_use]
    pub fn count(&self, total: u64) -> u64 {
        let ids = self.ids.len() as u64;
        if self.all { total.saturating_sub(ids) } else { ids }
    }

    /// Those that were clicked on, when it is not all but some.
    #[must_use]
    pub fn ids(&self) -> Option<Vec<String>> {
        (!self.all).then(|| self.ids.clone())
    }
}

/// What became of many.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// How many there are to do.
    pub of: u64,
    /// How many are done.
    pub done: u64,
    /// Those that were not, and why.
    pub failed: Vec<(String, String)>,
    closed: u64,
    slowest_ms: Option<u64>,
    /// Why it went no further.
    pub broken: Option<String>,
    /// Whether there is nothing more to come.
    pub over: bool,
}

impl Outcome {
    /// Nothing yet, of so many.
    #[must_use]
    pub fn of(of: u64) -> Self {
        Self { of, ..Self::default() }
    }

    /// Takes in what became of some.
    pub fn add(&mut self, results: ActionResults) {
        for result in results.results {
            if result.done {
                self.done += 1;
                self.closed += result.connections_closed;
                self.slowest_ms = self.slowest_ms.max(result.closed_in_ms.filter(|_| result.connections_closed > 0));
            } else {
                self.failed.push((result.device_id, harmless(&result.message.unwrap_or_default())));
            }
        }
    }

    /// How far it is.
    #[must_use]
    pub fn part(&self) -> f64 {
        (self.done + self.failed.len() as u64) as f64 / self.of.max(1) as f64
    }

    /// How many were not tried, because it went no further.
    #[must_use]
    pub fn not_tried(&self) -> u64 {
        self.of.saturating_sub(self.done + self.failed.len() as u64)
    }

    /// What came of it, for those who do not look at it any more.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut said = vec![format!("{} of {} done.", exact(self.done), exact(self.of))];
        if !self.failed.is_empty() {
            said.push(format!("{} failed.", exact(self.failed.len() as u64)));
        }
        if self.not_tried() > 0 {
            said.push(format!("{} not tried.", exact(self.not_tried())));
        }
        said.extend(self.broken.clone());
        said.join(" ")
    }

    /// What was measured, in a sentence.
    #[must_use]
    pub fn sentence(&self) -> String {
        let closed = match self.slowest_ms {
            None => "No connection was open.".to_owned(),
            Some(slowest) => format!("{} closed, the slowest in {}.", count(self.closed, "connection", "connections"), duration(slowest)),
        };
        if self.failed.is_empty() { closed } else { format!("{closed} {} not done.", exact(self.failed.len() as u64)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::hub::ActionResult;

    #[test]
    fn a_choice_is_ids_or_all_but_some() {
        let mut chosen = Selection::default();
        chosen.toggle("a");
        chosen.toggle("b");
        chosen.toggle("a");
        assert_eq!(
            (chosen.count(9), chosen.contains("b"), chosen.contains("a"), chosen.ids()),
            (1, true, false, Some(vec!["b".to_owned()]))
        );
        let mut all = Selection::all();
        all.toggle("b");
        assert_eq!((all.count(100_000), all.contains("b"), all.contains("a"), all.ids()), (99_999, false, true, None));
    }

    #[test]
    fn what_became_of_many_is_one_sentence() {
        let done = |closed, ms| ActionResult { done: true, connections_closed: closed, closed_in_ms: Some(ms), ..ActionResult::default() };
        let not = ActionResult { device_id: "d".to_owned(), message: Some("no".to_owned()), ..ActionResult::default() };
        let mut outcome = Outcome::of(4);
        outcome.add(ActionResults { results: vec![done(0, 900)] });
        assert_eq!(outcome.sentence(), "No connection was open.");
        outcome.add(ActionResults { results: vec![done(8, 212), done(1, 84), not] });
        assert_eq!((outcome.summary().as_str(), outcome.not_tried()), ("3 of 4 done. 1 failed.", 0));
        let broken = Outcome { broken: Some("The hub does not answer.".to_owned()), ..Outcome::of(1_200) };
        assert_eq!(broken.summary(), "0 of 1\u{202f}200 done. 1\u{202f}200 not tried. The hub does not answer.");
        assert_eq!((outcome.sentence().as_str(), outcome.part()), ("9 connections closed, the slowest in 212 ms. 1 not done.", 1.0));
    }
}
