//! Where a request carries its token, and where it comes from.

use axum::http::{HeaderMap, Uri, header};
use percent_encoding::percent_decode_str;

/// The token: the header `Authorization`, or else the query parameter of that name, as clients of 2015 and browsers' `EventSource` send it.
#[must_use]
pub fn token(headers: &HeaderMap, uri: &Uri) -> Option<String> {
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        return Some(String::from_utf8_lossy(value.as_bytes()).into_owned());
    }
    let pairs = uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    let value = pairs.filter(|(name, _)| name.eq_ignore_ascii_case("authorization")).map(|(_, value)| value).next()?;
    // Forms write a space as `+`; a plus sign inside the token is percent-encoded twice by then.
    Some(percent_decode_str(&value.replace('+', " ")).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_counts_more_than_the_query() {
        let uri: Uri = "/x?api-version=1&Authorization=SharedAccessSignature%20sr%3Dh%26sig%3Da%252Bb&z=1".parse().unwrap();
        let mut headers = HeaderMap::new();
        assert_eq!(token(&headers, &uri).as_deref(), Some("SharedAccessSignature sr=h&sig=a%2Bb"));
        headers.insert(header::AUTHORIZATION, "SharedAccessSignature sr=other".parse().unwrap());
        assert_eq!(token(&headers, &uri).as_deref(), Some("SharedAccessSignature sr=other"));
        assert_eq!(token(&HeaderMap::new(), &"/x".parse().unwrap()), None);
    }
}
