//! `GET /openapi.json`: what our own API is, for programs, in OpenAPI 3.1.
//!
//! Owns the document's frame and what all operations have in common. Each operation is described where it is handled, by
//! `#[utoipa::path]` above the handler, and listed here; a test compares the list with the router's routes. Azure's API is not described:
//! Azure has done that.

use std::sync::LazyLock;

use axum::body::Bytes;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};
use utoipa::{IntoResponses, Modify, OpenApi};

use super::error::ErrorDocument;
use super::{
    audit, changes, commands, connections, consumer_groups, devices, events, fleet, hub, live, rates, refusals, session, timeline,
};

/// The document. Every operation of our own has its place in `paths`.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Mooring",
        description = "A hub's own API, on port 8443 beside Azure's REST API. Times are ISO 8601 in UTC. Errors have Azure's form, and the \
            header `iothub-errorcode`. Whoever comes in a session, and not with a token, is answered 403 `MissingRight` where a right is missing, \
            and 403 `OtherOrigin` or `MissingCsrf` where another page could have made the request.",
    ),
    paths(
        get_document,
        audit::list,
        changes::get_changes,
        connections::get_presence,
        connections::list_connections,
        connections::list_device_connections,
        commands::send,
        commands::list,
        commands::list_of_device,
        commands::get,
        commands::get_content,
        commands::again,
        commands::purge_own,
        fleet::list,
        devices::get,
        timeline::get,
        devices::show_secrets_of,
        devices::act,
        events::get_events,
        consumer_groups::list_consumer_groups,
        hub::get_hub,
        live::get_live,
        rates::get_rates,
        rates::get_device_rates,
        refusals::list_refusals,
        refusals::list_device_refusals,
        session::get,
        session::post,
        session::delete,
        session::openid::begin,
        session::openid::come_back,
    ),
    tags(
        (name = "changes", description = "What happens, live."),
        (name = "presence", description = "Who is connected, and how connections went."),
        (name = "commands", description = "What back ends tell devices to do, and what became of it. Needs ServiceConnect."),
        (name = "events", description = "What devices send, and who has read how much of it."),
        (name = "hub", description = "What this hub is."),
        (name = "refusals", description = "Who was refused, and why."),
        (name = "devices", description = "Devices, without their keys; what is done to many of them; their keys, which the audit tells of."),
        (name = "session", description = "Who is signed in, with the dashboard."),
        (name = "audit", description = "Who did what."),
        (name = "document", description = "This document."),
    ),
    security(("sharedAccessSignature" = []), ("sharedAccessSignatureInQuery" = []), ("session" = [])),
    modifiers(&Authorization),
)]
struct OwnApi;

/// How callers prove themselves.
struct Authorization;

impl Modify for Authorization {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let description = "SharedAccessSignature sr=<hub>&sig=<signature>&se=<expiry>&skn=<policy>, signed with a policy's key";
        let key = |name: &str| ApiKeyValue::with_description(name, description);
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("sharedAccessSignature", SecurityScheme::ApiKey(ApiKey::Header(key("Authorization"))));
        let cookie = "POST /api/v1/session sets it. A request with it needs the header Origin of the hub's own page, and a change the header mooring-csrf";
        let cookie = ApiKeyValue::with_description("__Host-mooring", cookie);
        components.add_security_scheme("session", SecurityScheme::ApiKey(ApiKey::Cookie(cookie)));
        components.add_security_scheme("sharedAccessSignatureInQuery", SecurityScheme::ApiKey(ApiKey::Query(key("Authorization"))));
    }
}

/// What any operation may answer instead of what was asked for.
#[derive(IntoResponses)]
pub enum Refusals {
    /// ArgumentInvalid: something in the request can't be; the text says what.
    #[response(status = 400)]
    ArgumentInvalid(ErrorDocument),
    /// IotHubUnauthorizedAccess: no token, a bad one, or one of a policy that may not do this.
    #[response(status = 401)]
    Unauthorized(ErrorDocument),
    /// ServiceUnavailable: not now; the header Retry-After says when.
    #[response(status = 503)]
    Unavailable(ErrorDocument),
}

/// Handles `GET /openapi.json`. Needs no token: it says nothing about this hub.
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "document",
    security(()),
    responses((status = 200, description = "This document.", content_type = "application/json", body = Object)),
)]
pub async fn get_document() -> Response {
    static DOCUMENT: LazyLock<Bytes> =
        LazyLock::new(|| serde_json::to_vec(&OwnApi::openapi()).expect("the document is maps with text keys").into());
    ([(header::CONTENT_TYPE, "application/json; charset=utf-8")], DOCUMENT.clone()).into_response()
}

#[cfg(test)]
mod tests;
