//! JSON as values of ours. A reader of its own for each type, as serde's derives make them, is code that every browser has to load; here a type
//! names its fields, and one reader does the rest. What is not there, or not of its kind, is as if nothing had been said: a hub of tomorrow may
//! say more, and in another way.

pub mod value;

use super::time::Moment;
use value::Value;

/// What can be read from JSON.
pub trait FromJson: Sized {
    /// From a value; nothing when it is of another kind.
    fn from_json(value: &Value) -> Option<Self>;
}

/// An object's fields: each with the name that the API gives it, and perhaps another one that it has elsewhere.
macro_rules! object {
    ($type:ident { $($field:ident: $name:literal $(| $other:literal)?),+ $(,)? }) => {
        impl $crate::model::json::FromJson for $type {
            fn from_json(value: &$crate::model::json::value::Value) -> Option<Self> {
                matches!(value, $crate::model::json::value::Value::Object(_)).then(|| Self { $($field: $crate::model::json::field(value, &[$name $(, $other)?])),+ })
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
    let value = Value::parse(text).map_err(|at| format!("it is no JSON from byte {at} on"))?;
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
        if let Value::Bool(is_true) = value { Some(*is_true) } else { None }
    }
}

impl FromJson for u64 {
    fn from_json(value: &Value) -> Option<Self> {
        value.as_number()?.parse().ok()
    }
}

impl FromJson for u32 {
    fn from_json(value: &Value) -> Option<Self> {
        value.as_number()?.parse().ok()
    }
}

impl FromJson for i64 {
    fn from_json(value: &Value) -> Option<Self> {
        value.as_number()?.parse().ok()
    }
}

impl FromJson for f64 {
    fn from_json(value: &Value) -> Option<Self> {
        decimal(value.as_number()?)
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
        let Value::List(values) = value else { return None };
        Some(values.iter().filter_map(T::from_json).collect())
    }
}

/// To some fifteen digits. The standard library finds the nearest of all numbers, by tables that are larger than all else that reads JSON here.
fn decimal(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let behind_point = mantissa.split_once('.').map_or(0, |(_, digits)| digits.len() as i32);
    let digits = mantissa.bytes().filter(u8::is_ascii_digit);
    let size = digits.fold(0.0, |size, digit| size * 10.0 + f64::from(digit - b'0'));
    let value = size * 10_f64.powi(exponent.parse::<i32>().ok()?.checked_sub(behind_point)?);
    value.is_finite().then_some(if mantissa.starts_with('-') { -value } else { value })
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
    fn numbers_are_read() {
        for (text, number) in [("0", 0.0), ("-2.5", -2.5), ("12.345", 12.345), ("1e3", 1000.0), ("25E-1", 2.5), ("0.1", 0.1)] {
            let read = read::<f64>(text).unwrap();
            assert!((read - number).abs() <= number.abs() * 1e-15, "{text}: {read}");
        }
        assert_eq!((read::<f64>("1e400").ok(), read::<f64>("1e99999999999").ok()), (None, None));
        assert_eq!((read("18446744073709551615"), read("-7")), (Ok(u64::MAX), Ok(-7_i64)));
        assert!(read::<u64>("7.0").is_err() && read::<u32>("4294967296").is_err());
    }

    #[test]
    fn what_is_something_else_is_said() {
        assert!(read::<Thing>("[]").is_err() && read::<Thing>("{").is_err() && read::<Vec<Thing>>("{}").is_err());
    }
}
