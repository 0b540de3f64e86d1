//! Azure's paths are compared without regard to case: its clients write `deviceBound` and `devicebound`, `serviceBound` and `servicebound`.
//!
//! Owns one rule: everything in them is lowered before it is looked up, but the id behind `devices`. Lock tokens read the same in any
//! case. Our own paths, which begin with `/api/` or belong to the dashboard, stay as they are.

use axum::extract::Request;
use axum::http::Uri;
use axum::http::uri::PathAndQuery;

/// What our own paths begin with.
const OURS: [&str; 3] = ["/api/", "/assets/", "/dashboard/"];

/// The request with the path that the router knows.
pub fn without_case(mut request: Request) -> Request {
    if let Some(path) = lowered(request.uri().path()) {
        let query = request.uri().query().map_or_else(String::new, |query| format!("?{query}"));
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query = PathAndQuery::try_from(path + &query).ok();
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    request
}

/// `None`: it is as it has to be.
fn lowered(path: &str) -> Option<String> {
    if OURS.iter().any(|ours| path.starts_with(ours)) || !path.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return None;
    }
    let mut segments: Vec<String> = path.split('/').map(str::to_ascii_lowercase).collect();
    if segments.get(1).is_some_and(|first| first == "devices")
        && let (Some(id), Some(spelt)) = (segments.get_mut(2), path.split('/').nth(2))
    {
        spelt.clone_into(id);
    }
    Some(segments.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_lowered_but_ids_and_our_own() {
        for (path, wanted) in [
            ("/devices/D/messages/deviceBound/AB-1/Abandon", Some("/devices/D/messages/devicebound/ab-1/abandon")),
            ("/Devices/Messages", Some("/devices/Messages")),
            ("/messages/serviceBound/feedback", Some("/messages/servicebound/feedback")),
            ("/$iothub/websocket", None),
            ("/api/v1/devices/D", None),
            ("/dashboard/devices/D", None),
            ("*", None),
        ] {
            assert_eq!(lowered(path).as_deref(), wanted, "{path}");
        }
    }

    #[test]
    fn the_query_stays() {
        let request = Request::get("https://h/devices/D/messages/deviceBound/A?Reject=X").body(axum::body::Body::empty()).unwrap();
        assert_eq!(without_case(request).uri(), "https://h/devices/D/messages/devicebound/a?Reject=X");
    }
}
