//! Files that are followed while the hub runs: its certificate, the devices' authorities, the policies' keys.
//!
//! Owns when they are looked at, and what is said about it. What a broken file does is decided where the file is read.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time;
use tracing::{info, warn};

use super::device_authorities::FollowedAuthorities;
use super::list;
use super::policies::FollowedPolicies;
use crate::net::ReloadingCertificate;
use crate::ops::Hub;
use crate::ops::device_authorities::replace_device_authorities;
use crate::ops::policies::replace_policies;

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// When a policy's key files that have changed are looked at again: longer than it takes anybody to write two of them.
const SETTLE_TIME: Duration = Duration::from_secs(1);

/// Makes all of them be looked at now.
#[derive(Debug, Default)]
pub struct LookNow {
    certificate: Arc<Notify>,
    authorities: Arc<Notify>,
    policies: Arc<Notify>,
}

impl LookNow {
    /// Does so. Waits for nothing.
    pub fn look(&self) {
        for files in [&self.certificate, &self.authorities, &self.policies] {
            files.notify_one();
        }
    }

    /// Follows them in tasks among `upkeep`.
    pub fn follow(
        &self,
        hub: &Arc<Hub>,
        (certificate, authorities, policies): (Arc<ReloadingCertificate>, FollowedAuthorities, FollowedPolicies),
        upkeep: &mut JoinSet<()>,
    ) {
        upkeep.spawn(follow_certificate(certificate, Arc::clone(&self.certificate)));
        upkeep.spawn(follow_authorities(Arc::clone(hub), authorities, Arc::clone(&self.authorities)));
        upkeep.spawn(follow_policies(Arc::clone(hub), policies, Arc::clone(&self.policies)));
    }
}

async fn follow_certificate(certificate: Arc<ReloadingCertificate>, look: Arc<Notify>) {
    loop {
        let _ = time::timeout(LOOK_EVERY, look.notified()).await;
        let looked_at = Arc::clone(&certificate);
        match tokio::task::spawn_blocking(move || looked_at.reload()).await {
            Ok(Ok(false)) | Err(_) => {}
            Ok(Ok(true)) => info!("the certificate has changed; new connections get the new one"),
            Ok(Err(error)) => warn!(
                error = &error as &dyn std::error::Error,
                "the certificate's files have changed and can't be used; the old one stays: {error}"
            ),
        }
    }
}

async fn follow_authorities(hub: Arc<Hub>, mut authorities: FollowedAuthorities, look: Arc<Notify>) {
    loop {
        let _ = time::timeout(LOOK_EVERY, look.notified()).await;
        let looked = tokio::task::spawn_blocking(move || {
            let found = authorities.reload();
            (authorities, found)
        });
        let Ok((kept, (changed, broken))) = looked.await else { return };
        authorities = kept;
        for error in broken {
            warn!(error = &error as &dyn std::error::Error, "a device authority has changed and can't be used; the old one stays: {error}");
        }
        if !changed.is_empty() {
            replace_device_authorities(&hub, authorities.current());
            info!("device authorities have changed: {}; devices that came in by one that is gone are sent away", list(changed));
        }
    }
}

async fn follow_policies(hub: Arc<Hub>, mut policies: FollowedPolicies, look: Arc<Notify>) {
    let mut unsettled = false;
    loop {
        if unsettled {
            time::sleep(SETTLE_TIME).await;
        } else {
            let _ = time::timeout(LOOK_EVERY, look.notified()).await;
        }
        let looked = tokio::task::spawn_blocking(move || {
            let found = policies.look();
            (policies, found)
        });
        let Ok((kept, found)) = looked.await else { return };
        policies = kept;
        unsettled = found.unsettled;
        for error in found.broken {
            warn!(error = &error as &dyn std::error::Error, "a policy's keys have changed and can't be used; the old ones stay: {error}");
        }
        if !found.changed.is_empty() {
            replace_policies(&hub, policies.current());
            info!("the keys of policies have changed: {}; who came in by one that is gone is sent away", list(found.changed));
        }
    }
}
