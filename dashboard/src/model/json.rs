//! JSON as values of ours. A reader of its own for each type, as serde's derives make them, is code that every browser has to load; here a type
//! names its fields, and one reader does the rest. What is not there, or not of its kind, is as if nothing had been said: a hub of tomorrow may
//! say more, and in another way.

use std::collections::BTreeMap;

use serde_json::Value;

use super::time::Moment;

/// What can be read from JSON.
pub trait FromJson: Sized {
    /// From a value; nothing when it is of another kind.
    fn from_json(value: &Value) -> Option<Self>;
}

/// An object's fields: each with the name that the API gives it, and perhaps another one that it has elsewhere.
macro_rules! object {
    ($type:ident { $($field:ident: $name:literal $(| $other:literal)?),+ $(,)? }) => {
        impl $crate::model::json::FromJson for $type {
            fn from_json(value: &serde_json::Value) -> Option<Self> {
                value.is_object().then(|| Self { $($field: $crate::model::json::field(value, &[$name $(, $other)?])),+ })
            }
        }
    };
}
pub(crate) use object;

/// What a text says.
///
/// # Errors
/// When it is no JSON, or something else than what is looked for.
pub fn read<T: FromJson>(text: &str) -> Result<T, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    T::from_json(&value).ok_or_else(|| "it is of another form".to_owned())
}

/// A field of an object, by the first of its names that there is.
pub fn field<T: FromJson + Default>(value: &Value, names: &[&str]) -> T {
    names.iter().find_map(|name| value.get(name)).and_then(T::from_json).unwrap_or_default()
}

impl FromJson for Value {
    fn from_json(value: &Value) -> Option<Self> {
        Some(value.clone())
    }
}

impl FromJson for bool {
    fn from_json(value: &Value) -> Option<Self> {
        value.as_bool()
    }
}

impl FromJson for u64 {
    fn from_json(value: &Value) -> Option<Self> {
        value.as_u64()
    }
}

impl FromJson for u32 {
    fn from_json(value: &Value) -> Option<Self> {
        value.as_u64()?.try_into().ok()
    }
}

impl FromJson for i64 {
    fn from_json(value: &Value) -> Option<Self> {
        value.as_i64()
    }
}

impl FromJson for f64 {
    fn from_json(value: &Value) -> Option<Self> {
        value.as_f64()
    }
}

impl FromJson for String {
    fn from_json(value: &Value) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }
}

impl FromJson for Moment {
    fn from_json(value: &Value) -> Option<Self> {
        Self::parse(value.as_str()?)
    }
}

impl<T: FromJson> FromJson for Option<T> {
    fn from_json(value: &Value) -> Option<Self> {
        Some(T::from_json(value))
    }
}

impl<T: FromJson> FromJson for Box<T> {
    fn from_json(value: &Value) -> Option<Self> {
        T::from_json(value).map(Self::new)
    }
}

impl<T: FromJson> FromJson for Vec<T> {
    fn from_json(value: &Value) -> Option<Self> {
        Some(value.as_array()?.iter().filter_map(T::from_json).collect())
    }
}

impl<T: FromJson> FromJson for BTreeMap<String, T> {
    fn from_json(value: &Value) -> Option<Self> {
        let mut map = Self::new();
        for (name, value) in value.as_object()? {
            if let Some(value) = T::from_json(value) {
                map.insert(name.clone(), value);
            }
        }
        Some(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq)]
    struct Thing {
        name: String,
        size: Option<u64>,
        inside: Vec<Thing>,
    }

    object!(Thing { name: "name" | "oldName", size: "size", inside: "inside" });

    #[test]
    fn what_is_there_is_read_and_what_is_not_is_nothing() {
        let thing: Thing = read(r#"{"oldName":"a","size":null,"inside":[{"name":"b","size":7,"colour":"red"},5],"more":true}"#).unwrap();
        let inside = Thing { name: "b".to_owned(), size: Some(7), inside: Vec::new() };
        assert_eq!(thing, Thing { name: "a".to_owned(), size: None, inside: vec![inside] });
        assert_eq!(read::<Thing>(r#"{"size":"large"}"#).unwrap(), Thing::default());
    }

    #[test]
    fn what_is_something_else_is_said() {
        assert!(read::<Thing>("[]").is_err() && read::<Thing>("{").is_err() && read::<Vec<Thing>>("{}").is_err());
    }
}
