//! Serial numbers (AMQP 2.8.10, RFC 1982): delivery-ids, transfer-ids and delivery-counts start anywhere and wrap around.

/// How far `later` is ahead of `earlier`; negative when it is behind. Right for distances below 2³¹.
pub fn distance(earlier: u32, later: u32) -> i64 {
    i64::from(later.wrapping_sub(earlier).cast_signed())
}

/// What is left of a window that began at `known`, when `ours` is how far this side has come: for the peer has not heard yet of what is on
/// its way (AMQP 2.5.6, 2.6.7). Right for windows of any size, up to all numbers that there are.
pub fn left_of(window: u32, known: u32, ours: u32) -> u32 {
    window.saturating_sub(ours.wrapping_sub(known))
}

/// Whether `number` lies in `first ..= last`. A range that goes backwards holds nothing.
pub fn is_within(number: u32, first: u32, last: u32) -> bool {
    distance(first, number) >= 0 && distance(number, last) >= 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn distance_is_the_same_wherever_numbers_start(start: u32, ahead in 0..0x7fff_ffff_u32) {
            prop_assert_eq!(distance(start, start.wrapping_add(ahead)), i64::from(ahead));
            prop_assert_eq!(distance(start.wrapping_add(ahead), start), -i64::from(ahead));
        }

        #[test]
        fn a_range_holds_its_numbers_over_the_wrap(start: u32, length in 0..1000_u32, at in 0..2000_u32) {
            let last = start.wrapping_add(length);
            prop_assert_eq!(is_within(start.wrapping_add(at), start, last), at <= length);
            prop_assert_eq!(is_within(start.wrapping_sub(at), start, last), at == 0);
        }
    }

    proptest! {
        #[test]
        fn a_window_of_any_size_loses_what_is_on_its_way(start: u32, on_its_way: u32, window: u32) {
            let left = left_of(window, start, start.wrapping_add(on_its_way));
            prop_assert_eq!(u64::from(left), u64::from(window).saturating_sub(u64::from(on_its_way)));
        }
    }

    #[test]
    fn a_range_that_goes_backwards_is_empty() {
        for number in [4, 5, 6, 7] {
            assert!(!is_within(number, 6, 5));
        }
    }
}
