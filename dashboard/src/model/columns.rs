//! Which columns a list of devices has beside their ids: in the address, so that a view can be shared.

use crate::routes::Query;

/// A column that can be shown.
#[derive(Debug)]
pub struct Column {
    /// As the address calls it.
    pub name: &'static str,
    /// As the style does.
    pub style: &'static str,
    /// By what it is sorted; empty: by nothing.
    pub sort: &'static str,
    /// In words.
    pub word: &'static str,
    /// Whether it has numbers.
    pub numeric: bool,
    /// Whether it is there until somebody says otherwise.
    usual: bool,
}

const fn column(name: &'static str, style: &'static str, sort: &'static str, word: &'static str) -> Column {
    Column { name, style, sort, word, numeric: false, usual: true }
}

/// All of them, from left to right.
pub const COLUMNS: [Column; 6] = [
    column("state", "state", "state", "State"),
    column("since", "since", "since", "For"),
    column("reason", "why", "reason", "Last reason"),
    column("auth", "auth", "", "Auth"),
    Column { usual: false, ..column("lastSeen", "seen", "lastSeen", "Last seen") },
    Column { numeric: true, ..column("queue", "queue", "queue", "Queue") },
];

/// With nothing but ids, the address says so.
const ONLY_IDS: &str = "id";

/// Whether each of [`COLUMNS`] is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Columns([bool; COLUMNS.len()]);

impl Default for Columns {
    fn default() -> Self {
        Self(COLUMNS.each_ref().map(|column| column.usual))
    }
}

impl Columns {
    /// From an address. What can't be understood is as if it were not there.
    #[must_use]
    pub fn of(query: &Query) -> Self {
        let names: Vec<_> = query.get("columns").unwrap_or_default().split(',').collect();
        let said = Self(COLUMNS.each_ref().map(|column| names.contains(&column.name)));
        if said.0.contains(&true) || names.contains(&ONLY_IDS) { said } else { Self::default() }
    }

    /// As the address has it; nothing when it is as usual.
    #[must_use]
    pub fn text(self) -> String {
        let shown: Vec<_> = self.pick(true, |column| column.name);
        if self == Self::default() {
            String::new()
        } else if shown.is_empty() {
            ONLY_IDS.to_owned()
        } else {
            shown.join(",")
        }
    }

    /// Whether this one of [`COLUMNS`] is shown.
    #[must_use]
    pub fn shows(self, index: usize) -> bool {
        self.0.get(index).is_some_and(|shown| *shown)
    }

    /// With it, or without it.
    #[must_use]
    pub fn toggled(mut self, index: usize) -> Self {
        if let Some(shown) = self.0.get_mut(index) {
            *shown = !*shown;
        }
        self
    }

    /// Those that are not shown, as the style calls them.
    #[must_use]
    pub fn hidden(self) -> String {
        self.pick(false, |column| column.style).join(" ")
    }

    fn pick(self, shown: bool, say: fn(&Column) -> &'static str) -> Vec<&'static str> {
        COLUMNS.iter().zip(self.0).filter(|(_, is)| *is == shown).map(|(column, _)| say(column)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Columns {
        Columns::of(&Query::parse(text))
    }

    #[test]
    fn an_address_says_which_are_shown() {
        let columns = of("?columns=queue,state&prefix=a");
        assert_eq!((columns.text().as_str(), columns.hidden().as_str()), ("state,queue", "since why auth seen"));
        assert_eq!(of("?columns=id").hidden(), "state since why auth seen queue");
        assert_eq!(of("?columns=id").text(), "id");
    }

    #[test]
    fn what_is_usual_or_not_understood_is_not_in_the_address() {
        for text in ["", "?columns=", "?columns=colour"] {
            assert_eq!((of(text), of(text).text(), of(text).hidden()), (Columns::default(), String::new(), "seen".to_owned()), "{text}");
        }
    }

    #[test]
    fn a_second_press_takes_back() {
        let seen = COLUMNS.iter().position(|column| column.name == "lastSeen").unwrap();
        let more = Columns::default().toggled(seen);
        assert!(more.shows(seen) && !more.toggled(seen).shows(seen) && !more.shows(99));
        assert_eq!(more.text(), "state,since,reason,auth,lastSeen,queue");
        assert_eq!((more.toggled(seen), of(&format!("?columns={}", more.text()))), (Columns::default(), more));
    }
}
