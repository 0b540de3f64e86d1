//! When a file that has changed counts: once it has looked the same twice.
//!
//! Nobody writes two files in one moment, and few write one in one moment: half a pair of keys, or the first certificates of a bundle, are
//! often good by themselves. So is the beginning of a configuration.

/// Tells two states of some files apart without keeping them; `None` when they can't be read.
pub(super) type Contents = Option<[u8; 32]>;

/// What files were like.
#[derive(Debug)]
pub(super) struct Settling {
    /// What they held when they last counted.
    seen: Contents,
    /// What they held at the last look, when that was something else.
    unsettled: Option<Contents>,
}

impl Settling {
    /// With these contents they count already.
    pub(super) fn new(seen: Contents) -> Self {
        Self { seen, unsettled: None }
    }

    /// Whether they count from now on as something else than before, now that they hold `contents`. Once for each change.
    pub(super) fn have_changed(&mut self, contents: Contents) -> bool {
        let settled = contents == self.seen || self.unsettled == Some(contents);
        self.unsettled = (!settled).then_some(contents);
        settled && std::mem::replace(&mut self.seen, contents) != contents
    }

    /// Whether they have changed and do not count yet.
    pub(super) fn is_unsettled(&self) -> bool {
        self.unsettled.is_some()
    }
}

impl Default for Settling {
    /// They have never counted.
    fn default() -> Self {
        Self::new(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_the_same_twice_counts_once() {
        let (first, second, third) = (Some([1; 32]), Some([2; 32]), Some([3; 32]));
        let mut settling = Settling::new(first);
        let mut look = |contents| (settling.have_changed(contents), settling.is_unsettled());
        assert_eq!(look(first), (false, false));
        assert_eq!(look(second), (false, true));
        assert_eq!(look(third), (false, true), "it has changed again");
        assert_eq!(look(third), (true, false));
        assert_eq!(look(third), (false, false));
        assert_eq!(look(first), (false, true));
        assert_eq!(look(third), (false, false), "somebody thought better of it");
        assert_eq!(look(None), (false, true));
        assert_eq!(look(None), (true, false), "it can't be read any more");
    }
}
