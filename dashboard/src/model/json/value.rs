//! JSON as a tree of values, read and written. The usual library for it keeps numbers as numbers, and objects in a tree by name; a page that has to be
//! small needs neither, and people who look at what a device has sent want to see its numbers and its order as it wrote them.

use std::fmt::{self, Write as _};

/// How deep values stand in each other at most: a reader that goes down must come back.
const DEPTH_MAX: usize = 128;

/// A value (RFC 8259).
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as it was written.
    Number(String),
    /// A text.
    Text(String),
    /// Values in their order.
    List(Vec<Value>),
    /// Names and values, as they were written: a name may be there twice.
    Object(Vec<(String, Value)>),
}

impl Value {
    /// What a text says.
    ///
    /// # Errors
    /// When it is no JSON: from which byte on.
    pub fn parse(text: &str) -> Result<Self, usize> {
        let mut reader = Reader { text, at: 0 };
        let value = reader.value(0);
        reader.space();
        value.filter(|_| reader.at == text.len()).ok_or(reader.at)
    }

    /// An object.
    #[must_use]
    pub fn object(members: Vec<(&str, Self)>) -> Self {
        Self::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    /// What an object has under a name; the last that it has.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        let Self::Object(members) = self else { return None };
        members.iter().rev().find(|(found, _)| found == name).map(|(_, value)| value)
    }

    /// A text.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// A number, as it was written.
    #[must_use]
    pub fn as_number(&self) -> Option<&str> {
        if let Self::Number(text) = self { Some(text) } else { None }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number.to_string())
    }
}

impl From<bool> for Value {
    fn from(is_true: bool) -> Self {
        Self::Bool(is_true)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => to.write_str("null"),
            Self::Bool(is_true) => to.write_str(if *is_true { "true" } else { "false" }),
            Self::Number(text) => to.write_str(text),
            Self::Text(text) => to.write_str(&quoted(text)),
            Self::List(values) => {
                to.write_char('[')?;
                for (place, value) in values.iter().enumerate() {
                    write!(to, "{}{value}", if place == 0 { "" } else { "," })?;
                }
                to.write_char(']')
            }
            Self::Object(members) => {
                to.write_char('{')?;
                for (place, (name, value)) in members.iter().enumerate() {
                    write!(to, "{}{}:{value}", if place == 0 { "" } else { "," }, quoted(name))?;
                }
                to.write_char('}')
            }
        }
    }
}

/// A text as JSON has it, which is as YAML may have it.
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut said = String::with_capacity(text.len() + 2);
    said.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => said.extend(['\\', letter]),
            '\n' => said.push_str("\\n"),
            '\r' => said.push_str("\\r"),
            '\t' => said.push_str("\\t"),
            '\0'..' ' => _ = write!(said, "\\u{:04x}", letter as u32),
            _ => said.push(letter),
        }
    }
    said.push('"');
    said
}

/// Where it has come to; nothing is read of what is no JSON.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn took(&mut self, byte: u8) -> bool {
        let is_here = self.peek() == Some(byte);
        self.at += usize::from(is_here);
        is_here
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth == DEPTH_MAX {
            return None;
        }
        self.space();
        match self.peek()? {
            b'{' => {
                let mut members = Vec::new();
                self.items(b'}', &mut |reader| {
                    let name = reader.text()?;
                    reader.space();
                    reader.took(b':').then_some(())?;
                    members.push((name, reader.value(depth + 1)?));
                    Some(())
                })?;
                Some(Value::Object(members))
            }
            b'[' => {
                let mut values = Vec::new();
                self.items(b']', &mut |reader| {
                    values.push(reader.value(depth + 1)?);
                    Some(())
                })?;
                Some(Value::List(values))
            }
            b'"' => self.text().map(Value::Text),
            b't' => self.word("true", Value::Bool(true)),
            b'f' => self.word("false", Value::Bool(false)),
            b'n' => self.word("null", Value::Null),
            _ => self.number(),
        }
    }

    /// What stands between an opening bracket and this one, with commas.
    fn items(&mut self, close: u8, item: &mut dyn FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.at += 1;
        self.space();
        if self.took(close) {
            return Some(());
        }
        loop {
            self.space();
            item(self)?;
            self.space();
            if self.took(close) {
                return Some(());
            }
            self.took(b',').then_some(())?;
        }
    }

    fn word(&mut self, word: &str, value: Value) -> Option<Value> {
        self.text.get(self.at..)?.starts_with(word).then(|| {
            self.at += word.len();
            value
        })
    }

    fn number(&mut self) -> Option<Value> {
        let from = self.at;
        self.took(b'-');
        if !self.took(b'0') {
            self.digits()?;
        }
        if self.took(b'.') {
            self.digits()?;
        }
        if self.took(b'e') || self.took(b'E') {
            let _ = self.took(b'+') || self.took(b'-');
            self.digits()?;
        }
        self.text.get(from..self.at).map(|text| Value::Number(text.to_owned()))
    }

    /// One at least.
    fn digits(&mut self) -> Option<()> {
        let from = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > from).then_some(())
    }

    fn text(&mut self) -> Option<String> {
        self.took(b'"').then_some(())?;
        let mut text = String::new();
        loop {
            let rest = self.text.get(self.at..)?;
            let plain = rest.bytes().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))?;
            text.push_str(rest.get(..plain)?);
            self.at += plain;
            if self.took(b'"') {
                return Some(text);
            }
            self.took(b'\\').then_some(())?;
            text.push(self.escaped()?);
        }
    }

    fn escaped(&mut self) -> Option<char> {
        let letter = self.peek()?;
        self.at += 1;
        Some(match letter {
            b'"' | b'\\' | b'/' => char::from(letter),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.unit()?;
                if !(0xd800..0xdc00).contains(&first) {
                    return char::from_u32(first);
                }
                // The first half of a letter beyond 16 bits.
                (self.took(b'\\') && self.took(b'u')).then_some(())?;
                let second = self.unit().filter(|second| (0xdc00..0xe000).contains(second))?;
                return char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00));
            }
            _ => return None,
        })
    }

    /// Four digits.
    fn unit(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        self.at += 4;
        digits.chars().try_fold(0, |unit, digit| Some(unit * 16 + digit.to_digit(16)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the usual library reads it.
    fn usual(text: &str) -> Option<serde_json::Value> {
        serde_json::from_str(text).ok()
    }

    const TEXTS: [&str; 9] = [
        r#" { "a" : [ 1 , -2.5e-3 , 0 , 10E+2 ] , "b" : { } , "c" : [ ] } "#,
        r#"[true,false,null,"",0.5,-0,120,1e9]"#,
        r#""\"\\\/\b\f\n\r\t\u00e9\ud83d\udea2ü泵🚰""#,
        r#"{"a":{"a":{"a":[[[]]]}},"":""}"#,
        "\t\r\n 7 ",
        r#""a\u0000\u001f""#,
        "nul",
        "[1 2]",
        "-",
    ];

    #[test]
    fn what_it_takes_and_what_it_refuses_is_what_the_usual_library_does() {
        let mut both = 0;
        for text in TEXTS {
            // Each text, and each with one byte left out, or another in its place or before it.
            let changed = (0..=text.len()).filter(|at| text.is_char_boundary(*at)).flat_map(|at| {
                let (before, behind) = text.split_at(at);
                let after = behind.chars().next().map_or("", |first| &behind[first.len_utf8()..]);
                let letters = "{}[],:\"\\ue0-+. 1tdD\u{1}\u{a0}ü".chars();
                let with = letters.flat_map(move |letter| [format!("{before}{letter}{behind}"), format!("{before}{letter}{after}")]);
                with.chain([format!("{before}{after}")])
            });
            for text in changed.chain([text.to_owned()]) {
                let (ours, theirs) = (Value::parse(&text), usual(&text));
                assert_eq!(ours.is_ok(), theirs.is_some(), "{text:?}");
                let (Ok(ours), Some(theirs)) = (ours, theirs) else { continue };
                assert_eq!(usual(&ours.to_string()), Some(theirs), "{text:?}");
                assert_eq!(Value::parse(&ours.to_string()), Ok(ours), "{text:?}");
                both += 1;
            }
        }
        assert!(both > 500, "{both} texts are JSON");
    }

    #[test]
    fn numbers_and_orders_are_as_they_were_written() {
        let text = r#"{"b":1.10,"a":[123456789012345678901234567890,1E5],"b":2}"#;
        let value = Value::parse(text).unwrap();
        assert_eq!(value.to_string(), text);
        assert_eq!(value.get("b").and_then(Value::as_number), Some("2"), "the last one counts");
    }

    #[test]
    fn it_says_from_where_on_it_is_none() {
        assert_eq!((Value::parse("[1,}"), Value::parse(""), Value::parse("1 2")), (Err(3), Err(0), Err(2)));
    }

    #[test]
    fn what_is_too_deep_is_none() {
        let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(Value::parse(&deep(DEPTH_MAX)).is_ok() && Value::parse(&deep(DEPTH_MAX + 1)).is_err());
        assert!(Value::parse(&"[".repeat(1_000_000)).is_err() && Value::parse(&"{\"a\":".repeat(1_000_000)).is_err());
    }

    #[test]
    fn what_is_written_is_an_object() {
        let object = Value::object(vec![("name", "a\"b".into()), ("size", 7.into()), ("on", true.into()), ("text", String::new().into())]);
        assert_eq!(object.to_string(), r#"{"name":"a\"b","size":7,"on":true,"text":""}"#);
        assert_eq!(quoted("\u{1}\\\n"), r#""\u0001\\\n""#);
    }
}
