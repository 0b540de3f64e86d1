//! `POST /devices`: up to 100 identities in one request, each with its own importMode and its own answer.

use std::collections::HashSet;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::document::{DeviceDocument, InvalidDocument};
use super::{author, parse};
use crate::core::device_id::DeviceId;
use crate::core::identity::change::{Author, Change, Precondition, Request};
use crate::http::authorization::RegistryWriter;
use crate::http::body;
use crate::http::error::Failure;
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
}

/// A row that asks for nothing that there is.
#[derive(Debug, thiserror::Error)]
enum InvalidRow {
    #[error(transparent)]
    Document(#[from] InvalidDocument),
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

/// Answers 200 when every row was done and 400 when one was not; the others are done all the same.
pub async fn change_devices(
    State(hub): State<Arc<Hub>>,
    writer: RegistryWriter,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let author = author(writer, &headers)?;
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
        match parse_row(document, &author, &mut seen) {
            Ok(change) => {
                places.push((row, id));
                changes.push(change);
            }
            Err(error) => errors.push(RowError { row, id, failure: error.into() }),
        }
    }
    let answers = change_devices::change_devices(&hub, changes).await?;
    errors.extend(places.into_iter().zip(answers).filter_map(|((row, id), answer)| {
        let failure = answer.err()?.into();
        Some(RowError { row, id, failure })
    }));
    errors.sort_by_key(|error| error.row);
    Ok(answer(&errors))
}

fn parse_row(row: Value, author: &Author, seen: &mut HashSet<DeviceId>) -> Result<(DeviceId, Request), InvalidRow> {
    if !row.is_object() {
        return Err(InvalidDocument::NotAnObject.into());
    }
    let RowDocument { import_mode, e_tag } = RowDocument::deserialize(&row).map_err(InvalidDocument::from)?;
    let document = DeviceDocument::parse(row)?;
    let id = document.device_id.as_deref().ok_or(InvalidRow::NoId)?;
    let id = DeviceId::parse(id).map_err(InvalidDocument::from)?;
    if !seen.insert(id.clone()) {
        return Err(InvalidRow::Twice(id));
    }
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
    Ok((id, Request { change, author: author.clone() }))
}

impl From<InvalidRow> for Failure {
    fn from(error: InvalidRow) -> Self {
        match error {
            InvalidRow::Document(error) => error.into(),
            InvalidRow::NoId | InvalidRow::NoETag(_) | InvalidRow::ImportMode(_) => Self::argument_invalid(error.to_string()),
            // 400011.
            InvalidRow::Twice(_) => Self::new(StatusCode::BAD_REQUEST, "DeviceDefinedMultipleTimes", error.to_string()),
        }
    }
}

fn answer(errors: &[RowError]) -> Response {
    let status = if errors.is_empty() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    let errors: Vec<Value> = errors
        .iter()
        .map(|RowError { id, failure, .. }| json!({ "deviceId": id, "errorCode": failure.code(), "errorStatus": failure.text() }))
        .collect();
    body::json(status, &json!({ "isSuccessful": errors.is_empty(), "errors": errors, "warnings": [] }))
}
