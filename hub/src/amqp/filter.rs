//! Where a reader begins, as the filter of its link says it: the one selector that Event Hubs' clients write, and no other filter.
//!
//! ```text
//! amqp.annotation.x-opt-offset > '100'                  after an offset, or with >= at it; -1 is the beginning, @latest the end
//! amqp.annotation.x-opt-sequence-number > '12'          the same by number; -1 is the beginning
//! amqp.annotation.x-opt-enqueued-time > '1795395978094' after a time, in milliseconds since 1970; older clients: x-opt-enqueuedtimeutc
//! ```
//!
//! Some clients leave the quotes out around a number, or the spaces around the sign. A filter that is null is none. Pure; whether there is such a place is not asked here.

use fe2o3_amqp_types::messaging::FilterSet;
use serde_amqp::Value;
use serde_amqp::descriptor::Descriptor;

use crate::core::event::{Offset, SequenceNumber, StartPosition};
use crate::core::time::UnixMillis;

/// The key of the selector in a filter set, and what it is described by in words.
const SELECTOR: &str = "apache.org:selector-filter:string";

/// What it is described by as a number.
const SELECTOR_CODE: u64 = 0x0000_468C_0000_0004;

/// The filters are not ones that events can be read by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoFilter {
    /// A filter of another kind, or a selector that is no string of its type.
    #[error("the only filter for events is {SELECTOR}, a string")]
    Kind,
    /// A selector that says something else than where to begin.
    #[error(
        "a selector for events is amqp.annotation.x-opt-offset, x-opt-sequence-number or x-opt-enqueued-time, > or >=, and a number in quotes; \
         an offset may be @latest"
    )]
    Selector,
}

/// Where a reader with these filters begins; without any, at the beginning, as in Azure.
pub fn start_position(filters: Option<&FilterSet>) -> Result<StartPosition, NoFilter> {
    let mut position = StartPosition::Earliest;
    for (key, filter) in filters.into_iter().flat_map(FilterSet::iter).filter(|(_, filter)| !matches!(filter, Value::Null)) {
        let (true, Value::Described(described)) = (key.as_str() == SELECTOR, filter) else { return Err(NoFilter::Kind) };
        let is_selector = match &described.descriptor {
            Descriptor::Name(name) => name.as_str() == SELECTOR,
            Descriptor::Code(code) => *code == SELECTOR_CODE,
        };
        let (true, Value::String(selector)) = (is_selector, &described.value) else { return Err(NoFilter::Kind) };
        position = parse(selector).ok_or(NoFilter::Selector)?;
    }
    Ok(position)
}

/// What a selector says; `None` when it is not one of the three.
fn parse(selector: &str) -> Option<StartPosition> {
    let compared = selector.trim().strip_prefix("amqp.annotation.")?;
    let (name, rest) = compared.split_at(compared.find([' ', '>'])?);
    let rest = rest.trim_start().strip_prefix('>')?;
    let (inclusive, rest) = match rest.strip_prefix('=') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let place = unquoted(rest.trim_start())?;
    Some(match name {
        "x-opt-offset" => match place {
            "-1" => StartPosition::Earliest,
            "@latest" => StartPosition::Latest,
            offset => StartPosition::Offset { offset: Offset(number(offset)?), inclusive },
        },
        "x-opt-sequence-number" => match place {
            "-1" => StartPosition::Earliest,
            of => StartPosition::SequenceNumber { number: SequenceNumber(number(of)?), inclusive },
        },
        "x-opt-enqueued-time" | "x-opt-enqueuedtimeutc" => StartPosition::EnqueuedTime { time: UnixMillis(time(place)?), inclusive },
        _ => return None,
    })
}

/// A text in quotes without them, or a bare number.
fn unquoted(text: &str) -> Option<&str> {
    match text.strip_prefix('\'') {
        Some(quoted) => quoted.strip_suffix('\'').filter(|inner| !inner.contains('\'')),
        None => Some(text).filter(|bare| bare.starts_with(|first: char| first == '-' || first.is_ascii_digit())),
    }
}

/// Decimal digits and nothing else.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// The same with a sign, for times before 1970.
fn time(text: &str) -> Option<i64> {
    text.strip_prefix('-').unwrap_or(text).bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use fe2o3_amqp_types::primitives::Symbol;
    use proptest::prelude::*;
    use serde_amqp::described::Described;

    use super::*;

    fn offset(number: u64, inclusive: bool) -> StartPosition {
        StartPosition::Offset { offset: Offset(number), inclusive }
    }

    fn sequence_number(number: u64, inclusive: bool) -> StartPosition {
        StartPosition::SequenceNumber { number: SequenceNumber(number), inclusive }
    }

    fn enqueued(time: i64, inclusive: bool) -> StartPosition {
        StartPosition::EnqueuedTime { time: UnixMillis(time), inclusive }
    }

    fn filters(key: &str, descriptor: Descriptor, value: Value) -> FilterSet {
        FilterSet::from_iter([(Symbol::from(key), Value::Described(Box::new(Described { descriptor, value })))])
    }

    #[test]
    fn every_selector_of_the_sdks_is_understood() {
        for (selector, position) in [
            ("amqp.annotation.x-opt-offset > '100'", offset(100, false)),
            ("amqp.annotation.x-opt-offset >= '0'", offset(0, true)),
            ("amqp.annotation.x-opt-offset > '-1'", StartPosition::Earliest),
            ("amqp.annotation.x-opt-offset >= '-1'", StartPosition::Earliest),
            ("amqp.annotation.x-opt-offset > '@latest'", StartPosition::Latest),
            ("amqp.annotation.x-opt-offset >='@latest'", StartPosition::Latest),
            ("amqp.annotation.x-opt-sequence-number > '12'", sequence_number(12, false)),
            ("amqp.annotation.x-opt-sequence-number >= 12", sequence_number(12, true)),
            ("amqp.annotation.x-opt-sequence-number > '-1'", StartPosition::Earliest),
            ("amqp.annotation.x-opt-enqueued-time > '1795395978094'", enqueued(1_795_395_978_094, false)),
            ("amqp.annotation.x-opt-enqueued-time >= -62135596800000", enqueued(-62_135_596_800_000, true)),
            ("amqp.annotation.x-opt-enqueuedtimeutc > '5'", enqueued(5, false)),
            (" amqp.annotation.x-opt-offset>'18446744073709551615' ", offset(u64::MAX, false)),
        ] {
            assert_eq!(parse(selector), Some(position), "{selector}");
        }
    }

    #[test]
    fn other_selectors_are_not() {
        for selector in [
            "",
            "amqp.annotation.",
            "amqp.annotation.x-opt-offset",
            "amqp.annotation.x-opt-offset > ",
            "amqp.annotation.x-opt-offset > 'no offset'",
            "amqp.annotation.x-opt-offset > @latest",
            "amqp.annotation.x-opt-offset > '1",
            "amqp.annotation.x-opt-offset > 1'",
            "amqp.annotation.x-opt-offset > ''1''",
            "amqp.annotation.x-opt-offset < '1'",
            "amqp.annotation.x-opt-offset = '1'",
            "amqp.annotation.x-opt-offset > '-2'",
            "amqp.annotation.x-opt-offset > '+2'",
            "amqp.annotation.x-opt-offset > '18446744073709551616'",
            "amqp.annotation.x-opt-offset > '1' OR TRUE",
            "amqp.annotation.x-opt-sequence-number > '@latest'",
            "amqp.annotation.x-opt-enqueued-time > '2026-01-01'",
            "amqp.annotation.x-opt-enqueued-time > '--1'",
            "amqp.annotation.x-opt-partition-key > '1'",
            "x-opt-offset > '1'",
        ] {
            assert_eq!(parse(selector), None, "{selector}");
        }
    }

    #[test]
    fn a_filter_set_holds_the_selector_and_nothing_else() {
        let text = |selector: &str| Value::String(selector.to_owned());
        let latest = text("amqp.annotation.x-opt-offset > '@latest'");
        let (name, code) = (|| Descriptor::Name(Symbol::from(SELECTOR)), || Descriptor::Code(SELECTOR_CODE));
        assert_eq!(start_position(None), Ok(StartPosition::Earliest));
        assert_eq!(start_position(Some(&FilterSet::new())), Ok(StartPosition::Earliest));
        let nulls = [(Symbol::from(SELECTOR), Value::Null), (Symbol::from("jms-selector"), Value::Null)];
        assert_eq!(start_position(Some(&FilterSet::from_iter(nulls))), Ok(StartPosition::Earliest), "null is no filter");
        for descriptor in [name(), code()] {
            assert_eq!(start_position(Some(&filters(SELECTOR, descriptor, latest.clone()))), Ok(StartPosition::Latest));
        }
        for (wrong, error) in [
            (filters("jms-selector", name(), latest.clone()), NoFilter::Kind),
            (filters(SELECTOR, Descriptor::Code(1), latest.clone()), NoFilter::Kind),
            (filters(SELECTOR, code(), Value::Symbol("x".into())), NoFilter::Kind),
            (FilterSet::from_iter([(Symbol::from(SELECTOR), latest)]), NoFilter::Kind),
            (filters(SELECTOR, code(), text("no")), NoFilter::Selector),
        ] {
            assert_eq!(start_position(Some(&wrong)), Err(error), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(number: u64, time: i64, inclusive: bool, quoted: bool) {
            let sign = if inclusive { ">=" } else { ">" };
            let quote = if quoted { "'" } else { "" };
            let selector = |name: &str, place: &str| format!("amqp.annotation.{name} {sign} {quote}{place}{quote}");
            prop_assert_eq!(parse(&selector("x-opt-offset", &number.to_string())), Some(offset(number, inclusive)));
            prop_assert_eq!(parse(&selector("x-opt-sequence-number", &number.to_string())), Some(sequence_number(number, inclusive)));
            prop_assert_eq!(parse(&selector("x-opt-enqueued-time", &time.to_string())), Some(enqueued(time, inclusive)));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}", tail in "(x-opt-offset|x-opt-enqueued-time)? ?[>=]{0,2} ?['@0-9é-]{0,9}") {
            let _ = parse(&text);
            let _ = parse(&format!("amqp.annotation.{text}"));
            let _ = parse(&format!("amqp.annotation.{tail}"));
        }
    }
}
