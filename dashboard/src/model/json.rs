//! JSON as values of ours. Always by way of [`Value`]: each reader of each type is code that a browser has to load, and so there is one.

use serde::de::DeserializeOwned;
use serde_json::Value;

/// What a text says.
///
/// # Errors
/// When it is no JSON, or not of this form.
pub fn read<T: DeserializeOwned>(text: &str) -> serde_json::Result<T> {
    serde_json::from_value(serde_json::from_str::<Value>(text)?)
}
