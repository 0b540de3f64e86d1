//! `POST /devices`: up to 100 identities in one request, each with its own importMode, its own author and its own answer.

use std::collections::HashSet;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::author::{InvalidSignature, Signature};
use super::document::{self, DeviceDocument, InvalidDocument};
use super::{parse, prefer};
use crate::core::device_id::DeviceId;
use crate::core::identity::DeviceIdentity;
use crate::core::identity::change::{Change, Outcome, Precondition, Request};
use crate::http::authorization::RegistryWriter;
use crate::http::body;
use crate::http::error::Failure;
use crate::ops::read_devices::describe_devices;
use crate::ops::{Hub, change_devices};

/// The most identities in one request, as Azure has it.
const BULK_MAX: usize = 100;

/// A hundred identities of some 20 KB each: tags of the full 8 KiB, and generously escaped.
const BULK_MAX_BYTES: usize = 2 * 1024 * 1024;

/// What only a row of a bulk request has.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RowDocument {
    import_mode: Option<String>,
    #[serde(alias = "etag")]
    e_tag: Option<String>,
    #[serde(flatten)]
    signature: Signature,
}

/// A row that asks for nothing that there is.
#[derive(Debug, thiserror::Error)]
enum InvalidRow {
    #[error(transparent)]
    Document(#[from] InvalidDocument),
    #[error(transparent)]
    Signature(#[from] InvalidSignature),
    #[error("the device has no id")]
    NoId,
    #[error("{0} needs an eTag")]
    NoETag(String),
    #[error("{0:?} is not an importMode of this hub")]
    ImportMode(String),
    #[error("device {0} comes more than once")]
    Twice(DeviceId),
}

/// A row's error: which row, whose, and why.
struct RowError {
    row: usize,
    id: String,
    failure: Failure,
}

/// What the rows of a request have in common.
struct Common {
    /// The token's policy.
    policy: String,
    /// What the headers say of the author.
    signature: Signature,
}

/// Answers 200 when every row was done and 400 when one was not; the others are done all the same.
pub async fn change_devices(
    State(hub): State<Arc<Hub>>,
    RegistryWriter(writer): RegistryWriter,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let common = Common { policy: writer.name().to_owned(), signature: Signature::of_request(&headers) };
    let Value::Array(rows) = parse(&body::read(body, BULK_MAX_BYTES).await?)? else {
        return Err(Failure::argument_invalid("the body is an array of devices"));
    };
    if rows.len() > BULK_MAX {
        return Err(Failure::argument_invalid(format!("one request changes at most {BULK_MAX} devices, this one has {}", rows.len())));
    }
    let mut seen = HashSet::new();
    let (mut places, mut changes, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    for (row, document) in rows.into_iter().enumerate() {
        let id = ["id", "deviceId"].iter().find_map(|field| document[field].as_str()).unwrap_or_default().to_owned();
        match parse_row(document, &common, &mut seen) {
            Ok(change) => {
                places.push((row, id));
                changes.push(change);
            }
            Err(error) => errors.push(RowError { row, id, failure: error.into() }),
        }
    }
    let answers = change_devices::change_devices(&hub, &writer.by(), changes, None).await?;
    let mut kept = Vec::new();
    for ((row, id), answer) in places.into_iter().zip(answers) {
        match answer {
            Ok(Outcome::Kept(identity)) => kept.push(*identity),
            Ok(Outcome::Deleted) => {}
            Err(error) => errors.push(RowError { row, id, failure: error.into() }),
        }
    }
    errors.sort_by_key(|error| error.row);
    if !prefer::wants_representation(&headers) {
        return Ok(answer(&errors, None));
    }
    let mut response = answer(&errors, Some(representation(&hub, kept).await));
    response.headers_mut().insert(prefer::PREFERENCE_APPLIED, prefer::REPRESENTATION);
    Ok(response)
}

fn parse_row(row: Value, common: &Common, seen: &mut HashSet<DeviceId>) -> Result<(DeviceId, Request), InvalidRow> {
    if !row.is_object() {
        return Err(InvalidDocument::NotAnObject.into());
    }
    let RowDocument { import_mode, e_tag, signature } = RowDocument::deserialize(&row).map_err(InvalidDocument::from)?;
    let document = DeviceDocument::parse(row)?;
    let id = document.device_id.as_deref().ok_or(InvalidRow::NoId)?;
    let id = DeviceId::parse(id).map_err(InvalidDocument::from)?;
    if !seen.insert(id.clone()) {
        return Err(InvalidRow::Twice(id));
    }
    let author = signature.within(&common.signature).author(&common.policy)?;
    let mode = import_mode.unwrap_or_else(|| "createOrUpdate".to_owned());
    let matching = |etag: Option<String>| match etag.map(|etag| etag.trim_matches('"').to_owned()) {
        None => Err(InvalidRow::NoETag(mode.clone())),
        Some(etag) if etag == "*" => Ok(Precondition::Any),
        Some(etag) => Ok(Precondition::ETag(etag)),
    };
    // The case varies between clients (Go: "Update").
    let change = match mode.to_ascii_lowercase().as_str() {
        "create" => Change::Create(document.settings()?),
        "update" => Change::Update(document.settings()?, Precondition::Any),
        "updateifmatchetag" => Change::Update(document.settings()?, matching(e_tag)?),
        "createorupdate" => Change::CreateOrUpdate(document.settings()?, Precondition::Any),
        "createorupdateifmatchetag" => Change::CreateOrUpdate(document.settings()?, matching(e_tag)?),
        "delete" => Change::Delete(Precondition::Any),
        "deleteifmatchetag" => Change::Delete(matching(e_tag)?),
        _ => return Err(InvalidRow::ImportMode(mode)),
    };
    Ok((id, Request { change, author }))
}

impl From<InvalidRow> for Failure {
    fn from(error: InvalidRow) -> Self {
        match error {
            InvalidRow::Document(error) => error.into(),
            InvalidRow::Signature(error) => error.into(),
            InvalidRow::NoId | InvalidRow::NoETag(_) | InvalidRow::ImportMode(_) => Self::argument_invalid(error.to_string()),
            // 400011.
            InvalidRow::Twice(_) => Self::new(StatusCode::BAD_REQUEST, "DeviceDefinedMultipleTimes", error.to_string()),
        }
    }
}

/// What is there after the rows that were done, in their order. Whoever may write an identity is shown it, as one by one.
async fn representation(hub: &Hub, identities: Vec<DeviceIdentity>) -> Vec<Value> {
    describe_devices(hub, identities).await.iter().map(document::of).collect()
}

fn answer(errors: &[RowError], devices: Option<Vec<Value>>) -> Response {
    let status = if errors.is_empty() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    let is_successful = errors.is_empty();
    let errors: Vec<Value> = errors
        .iter()
        .map(|RowError { id, failure, .. }| json!({ "deviceId": id, "errorCode": failure.code(), "errorStatus": failure.text() }))
        .collect();
    let mut document = json!({ "isSuccessful": is_successful, "errors": errors, "warnings": [] });
    if let Some(devices) = devices {
        document["devices"] = devices.into();
    }
    body::json(status, &document)
}
