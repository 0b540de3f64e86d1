//! The name of a consumer group: back ends that read events together, and go on where one of them was.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// The most groups of a hub, `$Default` counted, as Azure has it.
pub const GROUPS_MAX: usize = 20;

/// The longest name, in bytes.
pub const GROUP_NAME_MAX_BYTES: usize = 50;

/// The name of the group that every hub has.
pub const DEFAULT_GROUP: &str = "$Default";

/// 1 to 50 ASCII letters and digits, with `.`, `_` and `-` between them; or `$Default`. Compared without case, kept as written.
#[derive(Clone)]
pub struct ConsumerGroup(Arc<str>);

/// A text that is not the name of a consumer group.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConsumerGroup {
    /// Nothing at all.
    #[error("a consumer group's name has at least one character")]
    Empty,
    /// Longer than [`GROUP_NAME_MAX_BYTES`].
    #[error("a consumer group's name has at most 50 characters, this one has {0} bytes")]
    TooLong(usize),
    /// A character that names may not hold, or not there.
    #[error("a consumer group's name is made of ASCII letters and digits, with . _ and - between them, not {0:?}")]
    Character(char),
}

/// Groups that can't be a hub's together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConsumerGroups {
    /// One of them is none.
    #[error("{name:?}: {reason}")]
    Name {
        /// What was written.
        name: String,
        /// What is wrong with it.
        reason: InvalidConsumerGroup,
    },
    /// The one that is there anyway.
    #[error("{DEFAULT_GROUP} is there already: leave it out")]
    Default,
    /// The same twice.
    #[error("{0} is there twice; capitals make no difference: leave one out")]
    Twice(ConsumerGroup),
    /// More than there may be.
    #[error("a hub has at most {GROUPS_MAX} consumer groups with {DEFAULT_GROUP}: leave {0} out")]
    TooMany(usize),
}

impl ConsumerGroup {
    /// The one check: everything that holds a `ConsumerGroup` may rely on it.
    pub fn parse(text: &str) -> Result<Self, InvalidConsumerGroup> {
        if text.is_empty() {
            return Err(InvalidConsumerGroup::Empty);
        }
        if text.len() > GROUP_NAME_MAX_BYTES {
            return Err(InvalidConsumerGroup::TooLong(text.len()));
        }
        if text.eq_ignore_ascii_case(DEFAULT_GROUP) {
            return Ok(Self::default());
        }
        let stands = |at: usize, c: char| c.is_ascii_alphanumeric() || (".-_".contains(c) && at > 0 && at + 1 < text.len());
        match text.char_indices().find(|&(at, c)| !stands(at, c)) {
            Some((_, character)) => Err(InvalidConsumerGroup::Character(character)),
            None => Ok(Self(text.into())),
        }
    }

    /// The name as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name in lower case: the same for all spellings of a group.
    #[must_use]
    pub fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }

    /// Whether somebody who says `name` means this group.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.0.eq_ignore_ascii_case(name)
    }

    /// Whether it is `$Default`.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.is(DEFAULT_GROUP)
    }

    fn folded_bytes(&self) -> impl Iterator<Item = u8> {
        self.0.bytes().map(|byte| byte.to_ascii_lowercase())
    }
}

/// The groups that somebody wants besides `$Default`, in the order in which they are written.
pub fn parse_groups<T: AsRef<str>>(names: impl IntoIterator<Item = T>) -> Result<Vec<ConsumerGroup>, InvalidConsumerGroups> {
    let mut groups: Vec<ConsumerGroup> = Vec::new();
    for name in names {
        let name = name.as_ref();
        let group =
            ConsumerGroup::parse(name).map_err(|reason| InvalidConsumerGroups::Name { name: name.chars().take(80).collect(), reason })?;
        if group.is_default() {
            return Err(InvalidConsumerGroups::Default);
        }
        if groups.contains(&group) {
            return Err(InvalidConsumerGroups::Twice(group));
        }
        groups.push(group);
    }
    let left_over = (groups.len() + 1).saturating_sub(GROUPS_MAX);
    if left_over == 0 { Ok(groups) } else { Err(InvalidConsumerGroups::TooMany(left_over)) }
}

/// `$Default`.
impl Default for ConsumerGroup {
    fn default() -> Self {
        Self(DEFAULT_GROUP.into())
    }
}

impl PartialEq for ConsumerGroup {
    fn eq(&self, other: &Self) -> bool {
        self.is(&other.0)
    }
}

impl Eq for ConsumerGroup {}

impl Ord for ConsumerGroup {
    fn cmp(&self, other: &Self) -> Ordering {
        self.folded_bytes().cmp(other.folded_bytes())
    }
}

impl PartialOrd for ConsumerGroup {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Hash for ConsumerGroup {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.folded_bytes().for_each(|byte| state.write_u8(byte));
    }
}

impl fmt::Display for ConsumerGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ConsumerGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use super::*;

    #[test]
    fn names_have_letters_digits_and_some_marks_between_them() {
        let longest = "a".repeat(GROUP_NAME_MAX_BYTES);
        for name in ["a", "7", "alerts", "Billing-2.eu_west", "a..b", &longest, DEFAULT_GROUP] {
            assert_eq!(ConsumerGroup::parse(name).unwrap().as_str(), name);
        }
        assert_eq!(ConsumerGroup::parse("$DEFAULT").unwrap().as_str(), DEFAULT_GROUP);
        for (name, wrong) in [("-a", '-'), ("a.", '.'), ("_", '_'), ("a b", ' '), ("$other", '$'), ("a/b", '/'), ("é", 'é'), ("a,b", ',')]
        {
            assert_eq!(ConsumerGroup::parse(name), Err(InvalidConsumerGroup::Character(wrong)), "{name}");
        }
        assert_eq!(ConsumerGroup::parse(""), Err(InvalidConsumerGroup::Empty));
        assert_eq!(ConsumerGroup::parse(&"a".repeat(51)), Err(InvalidConsumerGroup::TooLong(51)));
    }

    #[test]
    fn capitals_make_no_difference_and_are_kept() {
        let (one, other) = (ConsumerGroup::parse("Alerts").unwrap(), ConsumerGroup::parse("aLERTS").unwrap());
        assert_eq!(one, other);
        assert_eq!((one.to_string(), other.folded()), ("Alerts".to_owned(), "alerts".to_owned()));
        assert_eq!(HashSet::from([one.clone(), other.clone()]).len(), 1);
        assert_eq!(BTreeSet::from([one, other]).len(), 1);
    }

    #[test]
    fn a_list_of_groups_says_what_to_do_about_it() {
        let names = |texts: &[&str]| parse_groups(texts).map(|groups| groups.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(names(&["b", "A"]), Ok(vec!["b".to_owned(), "A".to_owned()]));
        assert_eq!(names(&[]), Ok(vec![]));
        let words = |texts: &[&str]| parse_groups(texts).unwrap_err().to_string();
        assert_eq!(words(&["a", "A"]), "A is there twice; capitals make no difference: leave one out");
        assert_eq!(words(&["$default"]), "$Default is there already: leave it out");
        assert!(words(&["a b"]).starts_with("\"a b\": a consumer group's name is made of"), "{}", words(&["a b"]));
        let many: Vec<String> = (0..GROUPS_MAX + 1).map(|number| format!("g{number}")).collect();
        assert!(parse_groups(&many[..GROUPS_MAX - 1]).is_ok());
        assert_eq!(parse_groups(&many).unwrap_err(), InvalidConsumerGroups::TooMany(2));
    }
}
