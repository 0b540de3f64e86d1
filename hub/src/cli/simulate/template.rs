//! What simulated devices say: a text with placeholders, each a signal that looks as if something had been measured.
//!
//! Pure. A device's n-th message depends on the seed, the device and n alone, but for `{{time}}` and `{{unix}}`.

use std::f64::consts::TAU;
use std::fmt::Write as _;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use crate::cli::duration::parse_duration;
use crate::core::time::UnixMillis;

/// What a device says that was told nothing else.
pub(super) const DEFAULT: &str = r#"{"temperature":{{sine 18.0 26.0 10m}},"humidity":{{walk 30.0 70.0 0.5}},"battery":{{fall 100 20 2h}},"status":"{{choice ok ok ok ok ok ok ok ok ok worn}}"}"#;

/// The placeholders, for `--help` and for whoever used one that there is not.
pub(super) const HELP: &str = "\
Placeholders in a template:
{{time}} and {{unix}}: now, as ISO 8601 and as seconds since 1970
{{device}}, {{number}}, {{sequence}}: its name, its number in the fleet, the number of the message, all from 1
{{sine MIN MAX PERIOD}}: up and down, as a temperature over the day
{{walk MIN MAX STEP}}: at most STEP away from the value before
{{fall FROM TO PERIOD}}: steadily from one to the other and back at once, as a battery that is changed
{{uniform MIN MAX}}: anything between
{{choice A B C}}: one of the words; say one twice and it comes twice as often
{{gps LAT LON}}: {\"lat\":…,\"lon\":…}, wandering about a place
{{uuid}}, {{filler N}}: a random UUID, N random letters
Numbers have as many decimals as the most precise of their arguments.";

/// The most letters of a filler: the largest message of a hub.
const FILLER_MAX: usize = 256 * 1024;

/// How far a device wanders from its place between two messages, at most, in degrees: about ten metres.
const STEP_DEGREES: f64 = 0.0001;

/// How far away from the place a device may be, in degrees: about ten kilometres.
const REACH_DEGREES: f64 = 0.1;

/// A template, read and found good.
#[derive(Debug)]
pub(super) struct Template {
    pieces: Vec<Piece>,
    /// How many numbers between 0 and 1 each device has to remember.
    slots: usize,
}

/// A text that is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidTemplate {
    /// `{{` without `}}`.
    #[error("the template has a {{{{ that no }}}} ends: {0}")]
    Open(String),
    /// A placeholder that there is not, or whose arguments don't fit.
    #[error("the template has {{{{{0}}}}}, which can't be.\n{HELP}")]
    Placeholder(String),
}

#[derive(Debug, PartialEq)]
enum Piece {
    Text(String),
    Time,
    Unix,
    Device,
    Number,
    Sequence,
    Uuid,
    Filler(usize),
    Uniform(Range),
    Choice(Vec<String>),
    Sine { range: Range, period: Duration, slot: usize },
    Walk { range: Range, step: f64, slot: usize },
    Fall { range: Range, period: Duration, slot: usize },
    Gps { latitude: f64, longitude: f64, slot: usize },
}

/// From one number to another, shown with so many decimals.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Range {
    from: f64,
    to: f64,
    decimals: usize,
}

/// The message that is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment<'a> {
    pub(super) device: &'a str,
    /// The device's number, from 1.
    pub(super) number: usize,
    /// The message's number, from 1.
    pub(super) sequence: u64,
    pub(super) now: UnixMillis,
    /// How long the device has been measuring, by the number of its messages.
    pub(super) measured_for: Duration,
}

impl Template {
    pub(super) fn parse(text: &str) -> Result<Self, InvalidTemplate> {
        let mut template = Self { pieces: Vec::new(), slots: 0 };
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let Some((inside, behind)) = after.split_once("}}") else {
                return Err(InvalidTemplate::Open(after.chars().take(40).collect()));
            };
            if !before.is_empty() {
                template.pieces.push(Piece::Text(before.to_owned()));
            }
            let words: Vec<&str> = inside.split_whitespace().collect();
            let piece = template.placeholder(&words).ok_or_else(|| InvalidTemplate::Placeholder(inside.trim().to_owned()))?;
            template.pieces.push(piece);
            rest = behind;
        }
        if !rest.is_empty() {
            template.pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(template)
    }

    /// What a new device remembers: where each of its signals stands.
    pub(super) fn memory(&self, rng: &mut SmallRng) -> Box<[f64]> {
        (0..self.slots).map(|_| rng.random()).collect()
    }

    /// The text of one message.
    pub(super) fn render(&self, moment: &Moment<'_>, memory: &mut [f64], rng: &mut SmallRng) -> String {
        let mut text = String::new();
        for piece in &self.pieces {
            // Writing to a text can't fail.
            let _ = piece.write(&mut text, moment, memory, rng);
        }
        text
    }

    /// A message as a device might send it, to see what kind of text it is.
    pub(super) fn sample(&self, now: UnixMillis) -> String {
        let mut rng = SmallRng::seed_from_u64(0);
        let moment = Moment { device: "device", number: 1, sequence: 1, now, measured_for: Duration::ZERO };
        let mut memory = self.memory(&mut rng);
        self.render(&moment, &mut memory, &mut rng)
    }

    fn placeholder(&mut self, words: &[&str]) -> Option<Piece> {
        Some(match words {
            ["time"] => Piece::Time,
            ["unix"] => Piece::Unix,
            ["device"] => Piece::Device,
            ["number"] => Piece::Number,
            ["sequence"] => Piece::Sequence,
            ["uuid"] => Piece::Uuid,
            ["filler", count] => Piece::Filler(count.parse().ok().filter(|count| *count <= FILLER_MAX)?),
            ["uniform", from, to] => Piece::Uniform(range(&[from, to])?),
            ["choice", first, others @ ..] => Piece::Choice([first].into_iter().chain(others).map(|&word| word.to_owned()).collect()),
            ["sine", from, to, period] => {
                Piece::Sine { range: range(&[from, to])?, period: parse_duration(period).ok()?, slot: self.remember(1) }
            }
            ["walk", from, to, step] => Piece::Walk { range: range(&[from, to, step])?, step: number(step)?.abs(), slot: self.remember(1) },
            ["fall", from, to, period] => {
                Piece::Fall { range: range(&[from, to])?, period: parse_duration(period).ok()?, slot: self.remember(1) }
            }
            ["gps", latitude, longitude] => {
                Piece::Gps { latitude: number(latitude)?, longitude: number(longitude)?, slot: self.remember(2) }
            }
            _ => return None,
        })
    }

    fn remember(&mut self, slots: usize) -> usize {
        self.slots += slots;
        self.slots - slots
    }
}

impl Piece {
    fn write(&self, text: &mut String, moment: &Moment<'_>, memory: &mut [f64], rng: &mut SmallRng) -> std::fmt::Result {
        match self {
            Self::Text(piece) => text.write_str(piece),
            Self::Time => write!(text, "{}", moment.now),
            Self::Unix => write!(text, "{}", moment.now.0.div_euclid(1000)),
            Self::Device => text.write_str(moment.device),
            Self::Number => write!(text, "{}", moment.number),
            Self::Sequence => write!(text, "{}", moment.sequence),
            Self::Uuid => write_uuid(text, rng.random()),
            Self::Filler(count) => (0..*count).try_for_each(|_| text.write_char(char::from(rng.random_range(b'a'..=b'z')))),
            Self::Uniform(range) => range.write(text, rng.random()),
            Self::Choice(words) => text.write_str(&words[rng.random_range(0..words.len())]),
            Self::Sine { range, period, slot } => range.write(text, 0.5 + 0.5 * (TAU * turns(moment, *period, memory[*slot])).sin()),
            Self::Fall { range, period, slot } => range.write(text, turns(moment, *period, memory[*slot]).fract()),
            Self::Walk { range, step, slot } => {
                let step = step / (range.to - range.from).abs().max(f64::MIN_POSITIVE);
                range.write(text, wander(&mut memory[*slot], step, rng))
            }
            Self::Gps { latitude, longitude, slot } => {
                let mut around = |slot: usize, middle: f64| {
                    middle + (2.0 * wander(&mut memory[slot], STEP_DEGREES / (2.0 * REACH_DEGREES), rng) - 1.0) * REACH_DEGREES
                };
                let (latitude, longitude) = (around(*slot, *latitude), around(*slot + 1, *longitude));
                write!(text, r#"{{"lat":{latitude:.6},"lon":{longitude:.6}}}"#)
            }
        }
    }
}

impl Range {
    /// The value that lies so far along the way, 0 to 1.
    fn write(&self, text: &mut String, along: f64) -> std::fmt::Result {
        let value = self.from + (self.to - self.from) * along;
        // Adding zero turns what would be shown as -0 into 0.
        let scale = 10f64.powi(i32::try_from(self.decimals).unwrap_or(0));
        write!(text, "{:.*}", self.decimals, (value * scale).round() / scale + 0.0)
    }
}

/// How often a signal has come round, with where it began.
fn turns(moment: &Moment<'_>, period: Duration, began: f64) -> f64 {
    began + moment.measured_for.as_secs_f64() / period.as_secs_f64()
}

/// Moves a place between 0 and 1 by at most `step`, and turns back at the ends.
fn wander(place: &mut f64, step: f64, rng: &mut SmallRng) -> f64 {
    *place = (*place + step.min(1.0) * rng.random_range(-1.0..=1.0)).abs();
    if *place > 1.0 {
        *place = 2.0 - *place;
    }
    *place
}

/// A random UUID is version 4, variant 10 (RFC 9562, 5.4).
fn write_uuid(text: &mut String, bits: u128) -> std::fmt::Result {
    let bits = bits & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62;
    let hex = format!("{bits:032x}");
    write!(text, "{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// Of the first two of the numbers; all of them say how precise it is.
fn range(numbers: &[&str]) -> Option<Range> {
    let decimals = |text: &&str| text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    Some(Range { from: number(numbers[0])?, to: number(numbers[1])?, decimals: numbers.iter().map(decimals).max()?.min(9) })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// The messages of one device, a second apart.
    fn messages(template: &str, seed: u64, count: u64) -> Vec<String> {
        let template = Template::parse(template).unwrap();
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut memory = template.memory(&mut rng);
        let moment = |sequence| Moment {
            device: "sim-0003",
            number: 3,
            sequence,
            now: UnixMillis(1_700_000_000_000),
            measured_for: Duration::from_secs(sequence),
        };
        (1..=count).map(|sequence| template.render(&moment(sequence), &mut memory, &mut rng)).collect()
    }

    fn numbers(template: &str) -> Vec<f64> {
        messages(template, 1, 500).iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn the_default_is_a_json_document_with_plausible_values() {
        for text in messages(DEFAULT, 1, 200) {
            let document: Value = serde_json::from_str(&text).unwrap();
            assert!((18.0..=26.0).contains(&document["temperature"].as_f64().unwrap()), "{text}");
            assert!((20..=100).contains(&document["battery"].as_i64().unwrap()), "{text}");
        }
    }

    #[test]
    fn a_seed_makes_the_same_messages_again() {
        let template = "{{walk 0 100 1}} {{uniform 0 9}} {{choice a b c}} {{uuid}} {{gps 52.5 13.4}}";
        assert_eq!(messages(template, 5, 20), messages(template, 5, 20));
        assert_ne!(messages(template, 5, 20), messages(template, 6, 20));
    }

    #[test]
    fn what_is_said_of_the_message_is_in_it() {
        assert_eq!(messages("{{device}}/{{ number }}/{{sequence}}", 1, 2), ["sim-0003/3/1", "sim-0003/3/2"]);
        assert_eq!(messages("{{time}} {{unix}}", 1, 1), ["2023-11-14T22:13:20.000Z 1700000000"]);
        assert_eq!(messages("{\"a\":{\"b\":1}}", 1, 1), ["{\"a\":{\"b\":1}}"]);
        assert_eq!(messages("{{filler 300}}", 1, 1)[0].len(), 300);
        assert_eq!(messages("", 1, 1), [""]);
    }

    #[test]
    fn signals_stay_in_their_ranges_and_move_as_they_should() {
        let walk = numbers("{{walk -5 5 0.5}}");
        assert!(walk.windows(2).all(|pair| (pair[0] - pair[1]).abs() <= 0.6), "{walk:?}");
        for values in [walk, numbers("{{uniform -5 5}}"), numbers("{{sine -5 5 1m}}"), numbers("{{fall 5 -5 1m}}")] {
            assert!(values.iter().all(|value| (-5.0..=5.0).contains(value)), "{values:?}");
        }
        let fall = numbers("{{fall 100.00 0.00 10m}}");
        assert_eq!(fall.windows(2).filter(|pair| pair[1] > pair[0]).count(), 1, "it is changed once in 500 s");
        assert!(messages("{{walk 3 3 1}}", 1, 3).iter().all(|text| text == "3"));
    }

    #[test]
    fn uuids_are_random_ones_by_their_looks() {
        let text = &messages("{{uuid}}", 1, 1)[0];
        assert_eq!((text.len(), &text[14..15]), (36, "4"), "{text}");
        assert!("89ab".contains(&text[19..20]), "{text}");
    }

    #[test]
    fn what_is_no_template_is_told_apart() {
        for wrong in ["{{sine 1 2}}", "{{nothing}}", "{{choice}}", "{{walk a b c}}", "{{filler 999999999}}", "{{sine 1 2 3x}}", "{{}}"] {
            assert!(matches!(Template::parse(wrong), Err(InvalidTemplate::Placeholder(_))), "{wrong}");
        }
        let error = Template::parse("x{{time}").unwrap_err();
        assert_eq!(error, InvalidTemplate::Open("time}".to_owned()));
        assert!(Template::parse("{{oops 1}}").unwrap_err().to_string().contains("{{walk MIN MAX STEP}}"));
    }
}
