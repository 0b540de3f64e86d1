//! Which of several operators leads: it alone works, another goes on when it ends or is killed, and whoever has lost the Lease ends.

use anyhow::{Context, Result, ensure};
use e2e::cluster::{LEASE, Namespace, on_api_server};
use e2e::operator::{Operator, reconciles, writes};
use serde_json::{Value, json};

use super::{PORTS, change, until_made};
use crate::kinds;
use crate::plant::{PLANT, hub_manifest};

async fn until_held_by(namespace: &Namespace, name: &str) -> Result<Value> {
    let holder = |lease: &Value| lease["spec"]["holderIdentity"].as_str().is_some_and(|holder| holder.starts_with(&format!("{name}_")));
    let lease = namespace.until(LEASE, "mooring-operator", &format!("held by {name}"), |lease| lease.is_some_and(holder)).await?;
    lease.context("no Lease")
}

#[test]
fn of_two_operators_one_leads_and_the_other_goes_on() -> Result<()> {
    on_api_server(async |namespace| {
        kinds::install(namespace).await?;
        let mut first = Operator::start(namespace, PORTS[0], &["--identity", "first"]).await?;
        until_held_by(namespace, "first").await?;
        let mut second = Operator::start(namespace, PORTS[1], &["--identity", "second"]).await?;
        namespace.apply(&hub_manifest(json!({})).to_string()).await?;
        until_made(namespace, PLANT).await?;
        let waiting = second.metrics().await?;
        ensure!(reconciles(&waiting, "IotHub") == 0.0 && writes(&waiting).is_empty(), "who waits does something: {waiting:?}");
        ensure!(waiting["mooring_operator_leading"] == 0.0, "who waits leads");
        ensure!(first.metrics().await?["mooring_operator_leading"] == 1.0, "nobody leads");

        let status = first.stop().await?;
        ensure!(status.success(), "it ended with {status}\n{}", first.log());
        let lease = namespace.get(LEASE, "mooring-operator").await?;
        ensure!(!lease["spec"]["holderIdentity"].to_string().contains("first"), "the Lease is not released: {lease}");
        let lease = until_held_by(namespace, "second").await?;
        ensure!(lease["spec"]["leaseTransitions"] == 1, "{lease}");
        change(namespace, "debug").await?;

        let _third = Operator::start(namespace, PORTS[0], &["--identity", "third"]).await?;
        second.kill9().await?;
        until_held_by(namespace, "third").await?;
        change(namespace, "trace").await
    })
}

#[test]
fn an_operator_whose_lease_is_another_s_ends() -> Result<()> {
    on_api_server(async |namespace| {
        kinds::install(namespace).await?;
        let mut operator = Operator::start(namespace, PORTS[0], &["--identity", "first"]).await?;
        until_held_by(namespace, "first").await?;
        namespace.patch(LEASE, "mooring-operator", &json!({ "spec": { "holderIdentity": "another" } })).await?;
        let status = operator.end().await?;
        ensure!(!status.success() && operator.log().contains("the Lease is lost"), "it ended with {status}\n{}", operator.log());
        let lease = namespace.get(LEASE, "mooring-operator").await?;
        ensure!(lease["spec"]["holderIdentity"] == "another", "it took what is another's: {lease}");
        Ok(())
    })
}
