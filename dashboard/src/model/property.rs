//! What properties of a command can be called. Each is a header of its own, and a browser speaks HTTP/2 to the hub, whose headers have small
//! letters alone: a name with capitals would come to the device as another one.

/// Whether one of these can be called that: nothing is lost of it on the way, and no other is called so. A name that is empty is none yet.
#[must_use]
pub fn can_be_named(names: &[String], index: usize) -> bool {
    let Some(name) = names.get(index) else { return false };
    let is_letter = |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit() || b"-_.".contains(&letter);
    name.is_empty() || (name.bytes().all(is_letter) && names.iter().filter(|other| *other == name).count() == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_property_is_called_what_the_device_will_read() {
        let names = ["level", "max-level_2.x", "", "", "Level", "a b", "gr\u{f6}\u{df}e", "twice", "twice"].map(str::to_owned);
        let sound: Vec<_> = (0..names.len()).map(|index| can_be_named(&names, index)).collect();
        assert_eq!(sound, [true, true, true, true, false, false, false, false, false]);
    }
}
