//! The Device controller.

use kube::Client;
use tokio_util::sync::CancellationToken;

use crate::hub::Links;
use crate::scope::Scope;

/// Looks after the Devices of the scope until it is told to stop; then ends what it has begun.
pub async fn controller(client: Client, scope: Scope, links: Links, stop: CancellationToken) {
    let _ = (client, scope, links);
    stop.cancelled().await;
}
