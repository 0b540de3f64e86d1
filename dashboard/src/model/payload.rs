//! What a device has said, for people to look at. Whatever it is, it becomes values that a view puts into text nodes: never markup, never
//! more than a screen can bear.

use super::json::value::Value;

/// Rows of 16 bytes in the hex view: 4 KiB.
const HEX_ROWS_MAX: usize = 256;

/// Letters of text.
const TEXT_MAX: usize = 65_536;

/// Members of one object or array that are shown.
const MEMBERS_MAX: usize = 200;

/// Values of the whole tree that are shown.
const NODES_MAX: usize = 2_000;

/// Depth of the tree that is shown: the reader stops at 128, a screen much earlier.
const DEPTH_MAX: usize = 32;

/// A payload in the form that says most.
#[derive(Clone, Debug, PartialEq)]
pub enum Payload {
    /// It is JSON.
    Json(Node),
    /// It is text.
    Text(String),
    /// It is neither.
    Binary,
    /// There is nothing.
    Empty,
}

/// A value of JSON.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// An object: names and values.
    Object(Vec<(String, Node)>, usize),
    /// An array.
    Array(Vec<Node>, usize),
    /// A text, as it is.
    Text(String),
    /// A number.
    Number(String),
    /// `true`, `false` or `null`.
    Literal(String),
    /// Too deep to be shown.
    Deeper,
}

/// Sixteen bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HexRow {
    /// Of the first of them.
    pub offset: String,
    /// Two digits each.
    pub digits: String,
    /// Those that are ASCII.
    pub letters: String,
}

/// Looks at bytes.
#[must_use]
pub fn of(bytes: &[u8]) -> Payload {
    if bytes.is_empty() {
        return Payload::Empty;
    }
    match (std::str::from_utf8(bytes).map(Value::parse), text(bytes)) {
        (Ok(Ok(value)), _) => Payload::Json(node(value, 0, &mut { NODES_MAX })),
        (_, Some(text)) => Payload::Text(text),
        (_, None) => Payload::Binary,
    }
}

/// The bytes as text, if that is what they are: UTF-8 without control characters. Those that turn the direction of writing round are shown
/// as what they are, so that nobody reads something else than what is there.
#[must_use]
pub fn text(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    if text.chars().any(|letter| letter.is_control() && !matches!(letter, '\n' | '\r' | '\t')) {
        return None;
    }
    Some(harmless(text))
}

/// Text with what can't be seen, or turns the direction of writing round, made visible, and cut where it is too long. Everything that a device or a
/// person has named goes through here before it is shown.
#[must_use]
pub fn harmless(text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(TEXT_MAX));
    for (index, letter) in text.chars().enumerate() {
        if index == TEXT_MAX {
            shown.push('…');
            break;
        }
        if is_deceptive(letter) {
            shown.push_str(&format!("\u{2039}U+{:04X}\u{203a}", letter as u32));
        } else {
            shown.push(letter);
        }
    }
    shown
}

/// The first rows of a hex view, and how many bytes are not in it.
#[must_use]
pub fn hex(bytes: &[u8]) -> (Vec<HexRow>, usize) {
    let rows = bytes.chunks(16).take(HEX_ROWS_MAX).enumerate().map(|(row, chunk)| HexRow {
        offset: format!("{:06x}", row * 16),
        digits: chunk.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" "),
        letters: chunk.iter().map(|byte| if (0x20..0x7f).contains(byte) { char::from(*byte) } else { '·' }).collect(),
    });
    (rows.collect(), bytes.len().saturating_sub(HEX_ROWS_MAX * 16))
}

/// Bytes from Base64, as the API has payloads. `None` for what is none.
#[must_use]
pub fn from_base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=').bytes();
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut held, mut bits) = (0_u32, 0_u32);
    for digit in digits {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        held = (held << 6 | u32::from(value)) & 0xffff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
        }
    }
    Some(bytes)
}

fn is_deceptive(letter: char) -> bool {
    matches!(letter, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
        || (letter.is_control() && !matches!(letter, '\n' | '\r' | '\t'))
}

/// `left` is how many values may still be shown of all that is there.
fn node(value: Value, depth: usize, left: &mut usize) -> Node {
    let mut room = |members: usize| {
        let shown = members.min(MEMBERS_MAX).min(*left);
        *left -= shown;
        (shown, members - shown)
    };
    match value {
        Value::Object(_) | Value::List(_) if depth >= DEPTH_MAX => Node::Deeper,
        Value::Object(members) => {
            let (shown, more) = room(members.len());
            Node::Object(
                members.into_iter().take(shown).map(|(name, value)| (harmless(&name), node(value, depth + 1, left))).collect(),
                more,
            )
        }
        Value::List(values) => {
            let (shown, more) = room(values.len());
            Node::Array(values.into_iter().take(shown).map(|value| node(value, depth + 1, left)).collect(), more)
        }
        Value::Text(text) => Node::Text(harmless(&text)),
        Value::Number(number) => Node::Number(harmless(&number)),
        Value::Bool(_) | Value::Null => Node::Literal(value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_shown_as_what_it_is() {
        let Payload::Json(Node::Object(members, 0)) = of(br#"{"celsius":-18.5,"on":true,"at":[1,null]}"#) else { panic!("an object") };
        let number = ("celsius".to_owned(), Node::Number("-18.5".to_owned()));
        assert!(members.contains(&number), "{members:?}");
        let names: Vec<_> = members.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["celsius", "on", "at"], "in the order in which it was written");
        assert_eq!(of(b"hello"), Payload::Text("hello".to_owned()));
        assert_eq!(of(b""), Payload::Empty);
        assert_eq!(of(&[0x93, 0x4e, 0xff]), Payload::Binary);
        assert_eq!(of(b"a\0b"), Payload::Binary);
    }

    #[test]
    fn markup_is_text() {
        let hostile = "<img src=x onerror=alert(1)>";
        assert_eq!(of(hostile.as_bytes()), Payload::Text(hostile.to_owned()));
        let json = format!(r#"{{"{hostile}":"{hostile}"}}"#);
        let Payload::Json(Node::Object(members, _)) = of(json.as_bytes()) else { panic!("an object") };
        assert_eq!(members, [(hostile.to_owned(), Node::Text(hostile.to_owned()))]);
    }

    #[test]
    fn what_deceives_the_eye_is_made_visible() {
        assert_eq!(of("user\u{202e}txt.exe".as_bytes()), Payload::Text("user‹U+202E›txt.exe".to_owned()));
        let Payload::Json(Node::Text(text)) = of("\"a\\u0000\u{200b}\"".as_bytes()) else { panic!("a text") };
        assert_eq!(text, "a‹U+0000›‹U+200B›");
        // Tags, fillers and separators look like nothing, and are somebody else's name.
        assert_eq!(harmless("pump\u{e0041}\u{3164}\u{2028}"), "pump‹U+E0041›‹U+3164›‹U+2028›");
        assert_eq!(harmless("Pumpe Süd – 泵 🚰"), "Pumpe Süd – 泵 🚰");
    }

    #[test]
    fn large_and_deep_ones_are_cut() {
        let long = format!("[{}]", vec!["1"; 1000].join(","));
        assert!(matches!(of(long.as_bytes()), Payload::Json(Node::Array(shown, 800)) if shown.len() == 200));
        let wide = format!("[{}]", vec![format!("[{}]", vec!["1"; 199].join(",")); 199].join(","));
        let Payload::Json(Node::Array(shown, 0)) = of(wide.as_bytes()) else { panic!("an array") };
        let inside: usize = shown.iter().map(|node| if let Node::Array(inside, _) = node { inside.len() } else { 0 }).sum();
        assert_eq!(shown.len() + inside, NODES_MAX);
        assert_eq!(shown[198], Node::Array(Vec::new(), 199), "it says how many there are");
        let deep = "[".repeat(100) + &"]".repeat(100);
        let Payload::Json(mut at) = of(deep.as_bytes()) else { panic!("JSON") };
        let mut depth = 0;
        while let Node::Array(mut inner, _) = at {
            at = inner.remove(0);
            depth += 1;
        }
        assert_eq!((depth, at), (DEPTH_MAX, Node::Deeper));
        let endless = "[".repeat(100_000);
        assert!(matches!(of(endless.as_bytes()), Payload::Text(text) if text.chars().count() == TEXT_MAX + 1));
        let (rows, more) = hex(&[0; 10_000]);
        assert_eq!((rows.len(), more), (256, 10_000 - 4096));
    }

    #[test]
    fn bytes_are_shown_in_rows_of_sixteen() {
        let (rows, _) = hex(b"0123456789abcdef\x00\xff");
        assert_eq!(rows[0].letters, "0123456789abcdef");
        assert_eq!(rows[1], HexRow { offset: "000010".to_owned(), digits: "00 ff".to_owned(), letters: "··".to_owned() });
    }

    #[test]
    fn base64_is_read() {
        for (text, bytes) in [("", &b""[..]), ("Zg==", b"f"), ("Zm8=", b"fo"), ("Zm9v", b"foo"), ("//79", &[0xff, 0xfe, 0xfd])] {
            assert_eq!(from_base64(text).as_deref(), Some(bytes));
        }
        assert_eq!(from_base64("<script>"), None);
    }
}
