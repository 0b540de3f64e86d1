//! A list of any length in a window that shows few of it: which rows are drawn, where they are, and which pages of a keyset hold them.

use std::ops::{Range, RangeInclusive};

use super::shelf::Shelf;

/// Rows that are drawn beyond both edges, so that scrolling shows no gap.
pub const OVERSCAN: usize = 10;

/// Browsers lay out nothing taller than about 33 million pixels; Firefox stops at 17.8.
const HEIGHT_MAX_PX: f64 = 15_000_000.0;

/// A window on a list.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// All rows.
    pub rows: usize,
    /// How tall each is, in pixels.
    pub row_px: f64,
    /// How tall the window is.
    pub view_px: f64,
}

impl Window {
    /// How tall the list is, as far as the scroll bar is concerned.
    #[must_use]
    pub fn height_px(&self) -> f64 {
        (self.rows as f64 * self.row_px).min(HEIGHT_MAX_PX)
    }

    /// The rows to draw when so much is scrolled away, and where the first of them begins.
    #[must_use]
    pub fn rows_at(&self, scrolled_px: f64) -> (Range<usize>, f64) {
        let first = self.first_at(scrolled_px);
        let shown = (self.view_px / self.row_px.max(1.0)).ceil() as usize + 1;
        let from = (first as usize).saturating_sub(OVERSCAN);
        let to = (first as usize + shown + OVERSCAN).min(self.rows);
        // Where the list is taller than a browser allows, rows stand where the window is, and not where they would be.
        let top = scrolled_px - (first - from as f64) * self.row_px;
        (from.min(to)..to, if self.is_cut() { top.max(0.0) } else { from as f64 * self.row_px })
    }

    /// The rows that are wholly to be seen, for people: from 1.
    #[must_use]
    pub fn shown_at(&self, scrolled_px: f64) -> (usize, usize) {
        let first = self.first_at(scrolled_px).ceil() as usize;
        let count = (self.view_px / self.row_px.max(1.0)).floor().max(1.0) as usize;
        if self.rows == 0 { (0, 0) } else { ((first + 1).min(self.rows), (first + count).min(self.rows)) }
    }

    /// How much to scroll so that this row is in the window; nothing when it is.
    #[must_use]
    pub fn scroll_to(&self, row: usize, scrolled_px: f64) -> Option<f64> {
        let (first, last) = self.shown_at(scrolled_px);
        let row_at = |row: usize| row as f64 * self.row_px * self.ratio();
        if row + 1 < first {
            Some(row_at(row))
        } else if row + 1 > last {
            Some((row_at(row + 1) - self.view_px).max(0.0))
        } else {
            None
        }
    }

    fn first_at(&self, scrolled_px: f64) -> f64 {
        (scrolled_px.max(0.0) / (self.row_px.max(1.0) * self.ratio())).min(self.rows.saturating_sub(1) as f64)
    }

    fn is_cut(&self) -> bool {
        self.rows as f64 * self.row_px > HEIGHT_MAX_PX
    }

    fn ratio(&self) -> f64 {
        if self.is_cut() { HEIGHT_MAX_PX / (self.rows as f64 * self.row_px) } else { 1.0 }
    }
}

/// Rows of a page of the API.
pub const PAGE: usize = 500;

/// Pages that are kept: what was looked at last.
const PAGES_MAX: usize = 40;

/// The rows of a list that have been fetched, by pages of a keyset: each page is asked for with the key that the one before it gave, or, where that has
/// not been looked at, by how many rows are in front of it.
#[derive(Clone, Debug)]
pub struct Pages<T> {
    rows: Shelf<usize, Vec<T>>,
    /// Behind what a page begins. Kept of all pages: keys are small.
    keys: Shelf<usize, String>,
    /// The order in which pages were looked at, the latest last.
    looked_at: Vec<usize>,
    total: usize,
    /// Rows that stand where they were, and are not there any more.
    gone: Vec<usize>,
    /// How many rows of the page that was renewed last would stand elsewhere.
    moved: usize,
}

/// A page to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Its number, from 0.
    pub page: usize,
    /// The key behind which it begins.
    pub after: Option<String>,
    /// How many rows to leave out, when there is no key.
    pub skip: usize,
}

impl<T> Default for Pages<T> {
    fn default() -> Self {
        Self { rows: Shelf::default(), keys: Shelf::default(), looked_at: Vec::new(), total: 0, gone: Vec::new(), moved: 0 }
    }
}

impl<T> Pages<T> {
    /// How many rows there are, as far as is known.
    #[must_use]
    pub fn total(&self) -> usize {
        self.total
    }

    /// A row, if it is here.
    #[must_use]
    pub fn row(&self, index: usize) -> Option<&T> {
        self.rows.get(&(index / PAGE))?.get(index % PAGE)
    }

    /// Whether one of these rows, as far as they are here, is what somebody looks for.
    pub fn any(&self, rows: &Range<usize>, is: impl Fn(&T) -> bool) -> bool {
        rows.clone().filter_map(|index| self.row(index)).any(is)
    }

    /// Whether a row that stands where it was is not there any more.
    #[must_use]
    pub fn is_gone(&self, index: usize) -> bool {
        self.gone.contains(&index)
    }

    /// How many rows would stand elsewhere, if they did not wait for somebody.
    #[must_use]
    pub fn moved(&self) -> usize {
        self.moved
    }

    /// The page of these rows that is to be fetched anew: each in its turn, behind the one that was fetched last.
    #[must_use]
    pub fn again(&self, rows: &Range<usize>, last: usize) -> Option<Wanted> {
        let pages = pages_of(rows);
        let page = if pages.contains(&(last + 1)) { last + 1 } else { *pages.start() };
        self.rows.get(&page).is_some().then(|| self.ask(page))
    }

    /// The first page that is missing of these rows.
    #[must_use]
    pub fn wanted(&self, rows: &Range<usize>) -> Option<Wanted> {
        let missing = pages_of(rows).into_iter().find(|page| self.rows.get(page).is_none() && page * PAGE < self.total.max(1))?;
        Some(self.ask(missing))
    }

    fn ask(&self, page: usize) -> Wanted {
        let after = self.keys.get(&page).cloned();
        Wanted { page, skip: if after.is_some() { 0 } else { page * PAGE }, after }
    }

    /// Takes what is new of a page's rows, each where it is: somebody may be about to press one.
    pub fn renew(&mut self, page: usize, rows: Vec<T>, is_same: impl Fn(&T, &T) -> bool) {
        let Some(known) = self.rows.get_mut(&page) else { return };
        self.gone.retain(|index| index / PAGE != page);
        let (mut rows, mut places) = (rows.into_iter().map(Some).collect::<Vec<_>>(), Vec::new());
        for (index, known) in known.iter_mut().enumerate() {
            let place = rows.iter().position(|row| row.as_ref().is_some_and(|row| is_same(known, row)));
            match place.and_then(|place| rows.get_mut(place)?.take()) {
                Some(row) => *known = row,
                None => self.gone.push(page * PAGE + index),
            }
            places.extend(place);
        }
        let new = rows.iter().flatten().count();
        self.moved = new.max(known.len() - in_order(&places));
    }

    /// Takes a page in, with the key of the one behind it (none: this was the last) and how many rows there are in all.
    pub fn put(&mut self, page: usize, rows: Vec<T>, next: Option<String>, total: usize) {
        // A page without rows says nothing of where the end is: the list has become shorter.
        let end = if rows.is_empty() { 0 } else { page * PAGE + rows.len() };
        self.total = if next.is_some() || rows.is_empty() { total.max(end) } else { end };
        if let Some(next) = next.filter(|next| self.keys.get(&(page + 1)) != Some(next)) {
            // Where the next one begins has moved, and so have all behind it.
            self.keys.retain(|behind| *behind <= page);
            self.keys.insert(page + 1, next);
        }
        self.rows.insert(page, rows);
        self.gone.retain(|index| index / PAGE != page);
        self.moved = 0;
        self.looked_at.retain(|looked| *looked != page);
        self.looked_at.push(page);
        while self.looked_at.len() > PAGES_MAX {
            let oldest = self.looked_at.remove(0);
            self.rows.remove(&oldest);
        }
    }
}

fn pages_of(rows: &Range<usize>) -> RangeInclusive<usize> {
    rows.start / PAGE..=rows.end.saturating_sub(1).max(rows.start) / PAGE
}

/// How many of these need not be moved so that all are in order: as many as the longest row of ever larger ones has.
fn in_order(places: &[usize]) -> usize {
    // The least end of a row of each length.
    let mut ends = Vec::<usize>::new();
    for place in places {
        let at = ends.partition_point(|end| end < place);
        ends.truncate(ends.len().max(at));
        match ends.get_mut(at) {
            Some(end) => *end = *place,
            None => ends.push(*place),
        }
    }
    ends.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Window = Window { rows: 100_000, row_px: 38.0, view_px: 700.0 };

    #[test]
    fn few_rows_are_drawn_of_many() {
        assert_eq!(ALL.rows_at(0.0), (0..30, 0.0));
        let (rows, top) = ALL.rows_at(50_000.0 * 38.0);
        assert_eq!((rows, top), (49_990..50_030, 49_990.0 * 38.0));
        let (rows, _) = ALL.rows_at(ALL.height_px() - 700.0);
        assert_eq!(rows.end, 100_000);
        assert_eq!(ALL.rows_at(1e12).0.end, 100_000, "a browser that scrolls too far");
        assert_eq!(ALL.rows_at(-50.0).0, 0..30, "or back");
    }

    #[test]
    fn what_is_said_to_be_shown_is_shown() {
        assert_eq!(ALL.shown_at(0.0), (1, 18));
        assert_eq!(ALL.shown_at(19.0), (2, 19));
        assert_eq!(Window { rows: 0, ..ALL }.shown_at(0.0), (0, 0));
        assert_eq!(Window { rows: 3, ..ALL }.shown_at(0.0), (1, 3));
        assert_eq!(Window { rows: 0, ..ALL }.rows_at(0.0).0, 0..0);
    }

    #[test]
    fn a_list_that_is_too_tall_for_a_browser_can_be_scrolled_to_its_end() {
        let window = Window { rows: 1_000_000, ..ALL };
        assert_eq!(window.height_px(), HEIGHT_MAX_PX);
        let (rows, top) = window.rows_at(HEIGHT_MAX_PX - 700.0);
        assert!(rows.end > 999_960 && rows.len() <= 40, "{rows:?}");
        assert!(top <= HEIGHT_MAX_PX - 700.0);
    }

    #[test]
    fn a_row_is_scrolled_to_only_when_it_is_not_there() {
        assert_eq!(ALL.scroll_to(5, 0.0), None);
        assert_eq!(ALL.scroll_to(20, 0.0), Some(21.0 * 38.0 - 700.0));
        assert_eq!(ALL.scroll_to(5, 3800.0), Some(5.0 * 38.0));
    }

    #[test]
    fn pages_are_fetched_by_the_key_of_the_one_before_or_by_how_many_are_in_front() {
        let mut pages = Pages::default();
        assert_eq!(pages.wanted(&(0..30)), Some(Wanted { page: 0, after: None, skip: 0 }));
        pages.put(0, (0..PAGE).collect(), Some("k1".to_owned()), 2000);
        assert_eq!((pages.wanted(&(0..30)), pages.total()), (None, 2000));
        assert_eq!(pages.wanted(&(600..630)), Some(Wanted { page: 1, after: Some("k1".to_owned()), skip: 0 }));
        // Far down the keys in between are not known.
        assert_eq!(pages.wanted(&(1900..1930)), Some(Wanted { page: 3, after: None, skip: 1500 }));
        pages.put(3, (3 * PAGE..4 * PAGE).collect(), None, 2000);
        assert_eq!((pages.wanted(&(1900..1930)), pages.again(&(1900..1930), 0)), (None, Some(Wanted { page: 3, after: None, skip: 1500 })));
        assert_eq!(pages.again(&(1100..1110), 0), None);
        // Somebody has made the list shorter meanwhile.
        pages.put(3, Vec::new(), None, 1000);
        assert_eq!(pages.total(), 1000);
        pages.put(1, (PAGE..2 * PAGE).collect(), None, 2000);
        assert_eq!((pages.total(), pages.row(2 * PAGE - 1), pages.row(2 * PAGE)), (2 * PAGE, Some(&(2 * PAGE - 1)), None));
        assert_eq!(pages.wanted(&(390..900)), None);
        assert!(pages.any(&(10..20), |row| *row == 19) && !pages.any(&(10..20), |row| *row == 20) && !pages.any(&(5000..5010), |_| true));
    }

    #[test]
    fn rows_that_somebody_points_at_stay_where_they_are() {
        let mut pages = Pages::default();
        pages.put(0, vec![("pump", 1), ("valve", 1)], None, 2);
        pages.renew(0, vec![("valve", 2), ("gate", 2), ("pump", 2)], |one, other| one.0 == other.0);
        assert_eq!((pages.row(0), pages.row(1), pages.row(2)), (Some(&("pump", 2)), Some(&("valve", 2)), None));
        assert_eq!((pages.moved(), pages.is_gone(0)), (1, false));
    }

    #[test]
    fn a_row_that_is_not_there_any_more_is_said_to_be_gone_until_the_list_is_sorted_again() {
        let mut pages = Pages::default();
        pages.put(1, vec!["a", "b", "c", "d"], None, PAGE + 4);
        pages.renew(1, vec!["d", "a", "c"], |one, other| one == other);
        assert_eq!((pages.row(PAGE + 1), pages.is_gone(PAGE + 1), pages.is_gone(PAGE)), (Some(&"b"), true, false));
        assert_eq!((pages.moved(), pages.total()), (2, PAGE + 4), "b is gone, and d would be the first");
        pages.renew(1, vec!["a", "b", "c", "d"], |one, other| one == other);
        assert_eq!((pages.moved(), pages.is_gone(PAGE + 1)), (0, false), "it has come back");
        pages.renew(1, vec!["d", "a", "c"], |one, other| one == other);
        pages.put(1, vec!["d", "a", "c"], None, PAGE + 3);
        assert_eq!((pages.moved(), pages.is_gone(PAGE + 1), pages.row(PAGE + 1)), (0, false, Some(&"a")));
    }

    #[test]
    fn both_pages_in_view_are_fetched_anew_in_turn() {
        let mut pages = Pages::default();
        pages.put(0, vec![0; PAGE], Some("k1".to_owned()), 2 * PAGE);
        pages.put(1, vec![1; PAGE], None, 2 * PAGE);
        let turn = |rows: Range<usize>, last| pages.again(&rows, last).map(|wanted| wanted.page);
        assert_eq!((turn(490..520, 0), turn(490..520, 1), turn(490..520, 7)), (Some(1), Some(0), Some(0)));
        assert_eq!((turn(0..20, 0), turn(0..20, 1), turn(600..620, 1)), (Some(0), Some(0), Some(1)));
    }

    #[test]
    fn a_border_that_has_moved_is_believed() {
        let mut pages = Pages::default();
        for page in 0..3 {
            pages.put(page, vec![page; PAGE], Some(format!("k{}", page + 1)), 2000);
        }
        pages.put(0, vec![0; PAGE], Some("other".to_owned()), 2000);
        let asked = |page: usize| pages.again(&(page * PAGE..page * PAGE + 1), 9).unwrap();
        assert_eq!((asked(1).after.as_deref(), asked(2)), (Some("other"), Wanted { page: 2, after: None, skip: 1000 }));
    }

    #[test]
    fn an_empty_list_is_asked_for_once() {
        let mut pages = Pages::<u8>::default();
        pages.put(0, Vec::new(), None, 0);
        assert_eq!((pages.wanted(&(0..0)), pages.total()), (None, 0));
    }

    #[test]
    fn pages_that_nobody_looks_at_are_let_go_of_and_can_be_fetched_again() {
        let mut pages = Pages::default();
        for page in 0..100 {
            pages.put(page, vec![(); PAGE], Some(format!("k{}", page + 1)), 100_000);
        }
        assert_eq!(pages.rows.len(), PAGES_MAX);
        assert_eq!(pages.wanted(&(10..20)), Some(Wanted { page: 0, after: None, skip: 0 }));
        assert_eq!(pages.wanted(&(PAGE * 5..PAGE * 5 + 1)), Some(Wanted { page: 5, after: Some("k5".to_owned()), skip: 0 }));
    }
}
