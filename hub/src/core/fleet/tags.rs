//! What is kept of a device's tags, so that devices can be found by them: a number for each, and not the text.

use std::hash::{DefaultHasher, Hasher as _};

use serde_json::Value;

/// The most tags of a device by which it is found: of a document with more, the first ones. 1 KiB.
pub const TAGS_MAX: usize = 64;

/// A device's tags.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags(Box<[Tag]>);

/// A tag that somebody looks for, or that a device has: its name alone, or with its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag(u64);

impl Tag {
    /// `name:value`, or a `name` that is there with whatever value. The name of what lies in an object has dots: `place.floor`.
    #[must_use]
    pub fn wanted(text: &str) -> Self {
        match text.split_once(':') {
            Some((name, value)) => Self::valued(name, value),
            None => Self::named(text),
        }
    }

    fn named(name: &str) -> Self {
        Self::of((name, None::<&str>))
    }

    fn valued(name: &str, value: &str) -> Self {
        Self::of((name, Some(value)))
    }

    /// 64 bits, so that two of a million tags look the same with a chance of one in forty million.
    fn of(what: impl std::hash::Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        Self(hasher.finish())
    }
}

impl Tags {
    /// Of this JSON object.
    #[must_use]
    pub fn of(text: Option<&str>) -> Self {
        let document = text.and_then(|text| serde_json::from_str::<Value>(text).ok());
        let mut found = Vec::new();
        if let Some(Value::Object(fields)) = &document {
            fields.iter().for_each(|(name, value)| collect(name, value, &mut found));
        }
        Self(found.into())
    }

    /// Whether this one is among them.
    #[must_use]
    pub fn have(&self, wanted: Tag) -> bool {
        self.0.contains(&wanted)
    }
}

fn collect(name: &str, value: &Value, found: &mut Vec<Tag>) {
    if found.len() >= 2 * TAGS_MAX {
        return;
    }
    let text = match value {
        Value::Object(fields) => return fields.iter().for_each(|(inner, value)| collect(&format!("{name}.{inner}"), value, found)),
        // Each of them is a value of the name.
        Value::Array(items) => return items.iter().for_each(|item| collect(name, item, found)),
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    };
    found.extend([Tag::named(name), Tag::valued(name, &text)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_found_by_what_its_tags_say() {
        let tags = Tags::of(Some(r#"{"site":"north","place":{"floor":3,"dry":true},"owners":["ada","bob"],"note":"a:b"}"#));
        for there in ["site", "site:north", "place.floor:3", "place.dry:true", "owners:ada", "owners:bob", "note:a:b", "owners"] {
            assert!(tags.have(Tag::wanted(there)), "{there}");
        }
        for not in ["site:south", "north", "place", "floor:3", "site:north ", "owners:eve", ""] {
            assert!(!tags.have(Tag::wanted(not)), "{not}");
        }
        assert_eq!((Tags::of(None), Tags::of(Some("not JSON"))), (Tags::default(), Tags::default()));
    }

    #[test]
    fn so_many_are_kept() {
        let many: String = (0..1000).map(|number| format!("\"t{number}\":[1,2,3],")).collect();
        assert_eq!(Tags::of(Some(&format!("{{{many}\"last\":1}}"))).0.len(), 2 * TAGS_MAX);
    }
}
