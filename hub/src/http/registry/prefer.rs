//! `Prefer: return=representation` (RFC 7240 §4.2): whether whoever writes wants to see what came of it.

use axum::http::{HeaderMap, HeaderName, HeaderValue};

const PREFER: HeaderName = HeaderName::from_static("prefer");

/// Says that the preference was heeded.
pub const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// Which one.
pub const REPRESENTATION: HeaderValue = HeaderValue::from_static("return=representation");

/// Whether the representation is preferred. Of several words about it the first counts (§2); what can't be read is passed over, as every
/// preference may be.
pub fn wants_representation(headers: &HeaderMap) -> bool {
    let texts = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
    let preferences = texts.flat_map(|text| text.split(',')).map(|preference| preference.split(';').next().unwrap_or_default());
    let mut returns = preferences.filter_map(|preference| {
        let (name, value) = preference.split_once('=')?;
        name.trim().eq_ignore_ascii_case("return").then(|| value.trim().trim_matches('"'))
    });
    returns.next().is_some_and(|value| value.eq_ignore_ascii_case("representation"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_about_it_counts() {
        for (values, wanted) in [
            (&["return=representation"][..], true),
            (&["respond-async, wait=10", "Return = \"Representation\"; foo=1"], true),
            (&["return=representation, return=minimal"], true),
            (&["return=minimal", "return=representation"], false),
            (&["return"], false),
            (&["returns=representation; return=representation"], false),
            (&[], false),
        ] {
            let headers: HeaderMap = values.iter().map(|value| (PREFER, HeaderValue::from_static(value))).collect();
            assert_eq!(wants_representation(&headers), wanted, "{values:?}");
        }
    }
}
