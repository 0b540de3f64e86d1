//! The identity registry as Azure's REST API has it (facts §7.4), with our extras: tags, the hold, and who manages an identity.
//!
//! A manifest says who it is with `mooring-managed-by: kubernetes/<namespace>/<name>/<uid>`; without that header the author is the policy
//! that signed the token. `mooring-ownership: adopt` lets a manifest take an identity that nobody manages; `mooring-ownership: release`
//! gives one up, or, from a person, takes it from a manifest that is gone. In a bulk request each row may say both for itself.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::authorization::{RegistryReader, RegistryWriter};
use super::body;
use super::error::Failure;
use crate::core::device_id::DeviceId;
use crate::core::identity::change::{Change, Outcome, Precondition, Refused, Request};
use crate::ops::Hub;
use crate::ops::change_devices::change_device;
use crate::ops::read_devices::{self, DeviceView, PAGE_MAX};
use crate::ops::registry_statistics::{connected_count, device_count};
use author::Signature;
use document::{DeviceDocument, InvalidDocument};

pub mod author;
pub mod bulk;
pub mod document;
mod prefer;

/// One identity: 8 KiB of tags may be written with every character escaped, and clients send back all they were given.
const DEVICE_MAX_BYTES: usize = 64 * 1024;

/// The device that the path names, percent-decoded.
#[derive(Debug)]
pub struct PathDevice(pub(super) DeviceId);

impl<S: Send + Sync> FromRequestParts<S> for PathDevice {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let id = Path::<String>::from_request_parts(parts, state).await;
        let Path(id) = id.map_err(|_| Failure::argument_invalid("a path is percent-encoded UTF-8"))?;
        DeviceId::parse(&id).map(Self).map_err(|error| InvalidDocument::from(error).into())
    }
}

/// `PUT /devices/{id}`: creates without If-Match, replaces with it.
pub async fn put_device(
    State(hub): State<Arc<Hub>>,
    RegistryWriter(writer): RegistryWriter,
    PathDevice(id): PathDevice,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let author = Signature::of_request(&headers).author(writer.name())?;
    let document = DeviceDocument::parse(parse(&body::read(body, DEVICE_MAX_BYTES).await?)?)?;
    document.must_be_of(&id)?;
    let settings = document.settings()?;
    let change = match precondition(&headers)? {
        None => Change::Create(settings),
        Some(precondition) => Change::Update(settings, precondition),
    };
    match change_device(&hub, &writer.by(), id.clone(), Request { change, author }).await? {
        Outcome::Kept(identity) => Ok(device(&DeviceView::of(&hub, *identity).await)),
        Outcome::Deleted => Err(Refused::NotFound(id).into()),
    }
}

/// `GET /devices/{id}`.
pub async fn get_device(State(hub): State<Arc<Hub>>, _: RegistryReader, PathDevice(id): PathDevice) -> Result<Response, Failure> {
    let view = read_devices::get_device(&hub, &id).await?.ok_or(Refused::NotFound(id))?;
    Ok(device(&view))
}

/// `DELETE /devices/{id}`, with or without If-Match. A held identity stays when its manifest deletes it, as nobody's, and still held.
pub async fn delete_device(
    State(hub): State<Arc<Hub>>,
    RegistryWriter(writer): RegistryWriter,
    PathDevice(id): PathDevice,
    headers: HeaderMap,
) -> Result<StatusCode, Failure> {
    let author = Signature::of_request(&headers).author(writer.name())?;
    let change = Change::Delete(precondition(&headers)?.unwrap_or(Precondition::Any));
    change_device(&hub, &writer.by(), id, Request { change, author }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The query of [`list_devices`].
#[derive(Debug, Deserialize)]
pub struct Page {
    top: Option<usize>,
}

/// `GET /devices?top=n`: the first n, at most and by default 1000. Azure documents no order and no way on; ours is byte order.
pub async fn list_devices(
    State(hub): State<Arc<Hub>>,
    _: RegistryReader,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Response, Failure> {
    let top = page.map_or(Some(0), |Query(page)| page.top).unwrap_or(PAGE_MAX);
    if top == 0 {
        return Err(Failure::argument_invalid("top is a number from 1 to 1000"));
    }
    let views = read_devices::list_devices(&hub, None, top).await?;
    Ok(body::json(StatusCode::OK, &views.iter().map(document::of).collect::<Vec<_>>()))
}

/// `GET /statistics/devices`.
pub async fn device_statistics(State(hub): State<Arc<Hub>>, _: RegistryReader) -> Result<Response, Failure> {
    let count = device_count(&hub).await?;
    let document = json!({
        "totalDeviceCount": count.total,
        "enabledDeviceCount": count.enabled,
        "disabledDeviceCount": count.total - count.enabled,
    });
    Ok(body::json(StatusCode::OK, &document))
}

/// `GET /statistics/service`.
pub async fn service_statistics(State(hub): State<Arc<Hub>>, _: RegistryReader) -> Response {
    body::json(StatusCode::OK, &json!({ "connectedDeviceCount": connected_count(&hub) }))
}

fn device(view: &DeviceView) -> Response {
    let mut response = body::json(StatusCode::OK, &document::of(view));
    let etag = HeaderValue::try_from(format!("\"{}\"", view.identity.version.etag())).expect("Base64 in quotes is a header value");
    response.headers_mut().insert(header::ETAG, etag);
    response.into_response()
}

fn parse(bytes: &[u8]) -> Result<Value, InvalidDocument> {
    Ok(serde_json::from_slice(bytes)?)
}

/// `If-Match`: quoted, as HTTP has it, or bare, as some clients send it; a star for any version, quoted or bare. §7.4.
fn precondition(headers: &HeaderMap) -> Result<Option<Precondition>, Failure> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let text = value.to_str().map_err(|_| Failure::argument_invalid("If-Match is ASCII text"))?.trim();
    let etag = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    Ok(match etag {
        "" => None,
        "*" => Some(Precondition::Any),
        etag => Some(Precondition::ETag(etag.to_owned())),
    })
}

#[cfg(test)]
mod tests;
