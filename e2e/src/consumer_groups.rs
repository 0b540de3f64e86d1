//! How consumer groups stand, by `GET /api/v1/consumer-groups`.

use anyhow::{Context, Result};
use reqwest::Method;
use serde_json::Value;

use crate::patience::within;
use crate::rest::Rest;

/// The groups as the API has them.
///
/// # Errors
/// When the hub refuses.
pub async fn groups(api: &Rest) -> Result<Vec<Value>> {
    let mut document = api.call(Method::GET, "/api/v1/consumer-groups", &[], Vec::new()).await?.expect(200)?.json()?;
    let Value::Array(groups) = document["consumerGroups"].take() else { anyhow::bail!("no groups in {document}") };
    Ok(groups)
}

/// How a group stands in a partition; without one, in the first that has events.
///
/// # Errors
/// When there is no such group or partition.
pub async fn place(api: &Rest, group: &str, partition: Option<u16>) -> Result<Value> {
    let groups = groups(api).await?;
    let group = groups.iter().find(|known| known["name"] == group).context("no such group")?;
    let partitions = group["partitions"].as_array().context("no partitions")?;
    let wanted = |place: &&Value| match partition {
        Some(partition) => place["partition"] == partition,
        None => place["lastEnqueuedSequenceNumber"] != -1,
    };
    partitions.iter().find(wanted).cloned().context("no such partition, or none with events")
}

/// Asks until the group stands like that; `what` says how.
///
/// # Errors
/// When it does not in time.
pub async fn until_place(api: &Rest, group: &str, partition: Option<u16>, what: &str, is_so: impl Fn(&Value) -> bool) -> Result<Value> {
    let asking = async {
        loop {
            let place = place(api, group, partition).await?;
            if is_so(&place) {
                return anyhow::Ok(place);
            }
            tokio::task::yield_now().await;
        }
    };
    within(what, asking).await?
}
