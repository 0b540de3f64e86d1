//! Files that are followed while the hub runs: its certificate, the devices' authorities, the policies' keys, people's passwords, its
//! configuration.
//!
//! Owns when they are looked at, and what is said about it. What a broken file does is decided where the file is read.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time;
use tracing::{error, info, warn};

use super::configuration::{FollowedConfiguration, Found};
use super::device_authorities::FollowedAuthorities;
use super::list;
use super::people::FollowedPeople;
use super::policies::FollowedPolicies;
use crate::core::audit::{AuditAction, Deed};
use crate::core::principal::By;
use crate::net::ReloadingCertificate;
use crate::ops::Hub;
use crate::ops::audit::record_done;
use crate::ops::device_authorities::replace_device_authorities;
use crate::ops::policies::replace_policies;
use crate::ops::sign_in::password::replace_people;

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// When files that have changed are looked at again: longer than it takes anybody to write two policies' keys, or a bundle of authorities.
const SETTLE_TIME: Duration = Duration::from_secs(1);

/// Makes all of them be looked at now.
#[derive(Debug, Default)]
pub struct LookNow {
    certificate: Arc<Notify>,
    authorities: Arc<Notify>,
    policies: Arc<Notify>,
    people: Arc<Notify>,
    configuration: Arc<Notify>,
}

impl LookNow {
    /// Does so. Waits for nothing.
    pub fn look(&self) {
        for files in [&self.certificate, &self.authorities, &self.policies, &self.people, &self.configuration] {
            files.notify_one();
        }
    }

    /// Follows them in tasks among `upkeep`.
    pub fn follow(
        &self,
        hub: &Arc<Hub>,
        (certificate, authorities, policies, people): (Arc<ReloadingCertificate>, FollowedAuthorities, FollowedPolicies, FollowedPeople),
        upkeep: &mut JoinSet<()>,
    ) {
        upkeep.spawn(follow_certificate(Arc::clone(hub), certificate, Arc::clone(&self.certificate)));
        upkeep.spawn(follow_people(Arc::clone(hub), people, Arc::clone(&self.people)));
        upkeep.spawn(follow_authorities(Arc::clone(hub), authorities, Arc::clone(&self.authorities)));
        upkeep.spawn(follow_policies(Arc::clone(hub), policies, Arc::clone(&self.policies)));
    }

    /// Follows the configuration in a task among `upkeep`.
    pub(super) fn follow_configuration(&self, hub: &Arc<Hub>, configuration: FollowedConfiguration, upkeep: &mut JoinSet<()>) {
        upkeep.spawn(follow_configuration(Arc::clone(hub), configuration, Arc::clone(&self.configuration)));
    }
}

async fn follow_certificate(hub: Arc<Hub>, certificate: Arc<ReloadingCertificate>, look: Arc<Notify>) {
    loop {
        let _ = time::timeout(LOOK_EVERY, look.notified()).await;
        let looked_at = Arc::clone(&certificate);
        match tokio::task::spawn_blocking(move || looked_at.reload()).await {
            Ok(Ok(false)) | Err(_) => {}
            Ok(Ok(true)) => {
                info!("the certificate has changed; new connections get the new one");
                followed(&hub, "the certificate".to_owned()).await;
            }
            Ok(Err(error)) => warn!(
                error = &error as &dyn std::error::Error,
                "the certificate's files have changed and can't be used; the old one stays: {error}"
            ),
        }
    }
}

async fn follow_authorities(hub: Arc<Hub>, authorities: FollowedAuthorities, look: Arc<Notify>) {
    let authorities = Arc::new(Mutex::new(authorities));
    let mut unsettled = false;
    loop {
        wait(unsettled, &look).await;
        let looked = look_at(&authorities, "the device authorities", |authorities| {
            let found = authorities.look();
            let current = (!found.changed.is_empty()).then(|| authorities.current());
            (found, current)
        });
        let (found, current) = looked.await.unwrap_or_default();
        unsettled = found.unsettled;
        for error in found.broken {
            warn!(error = &error as &dyn std::error::Error, "a device authority has changed and can't be used; the old one stays: {error}");
        }
        if let Some(current) = current {
            replace_device_authorities(&hub, current);
            let changed = list(found.changed);
            info!("device authorities have changed: {changed}; devices that came in by one that is gone are sent away");
            followed(&hub, format!("device authorities: {changed}")).await;
        }
    }
}

async fn follow_policies(hub: Arc<Hub>, policies: FollowedPolicies, look: Arc<Notify>) {
    let policies = Arc::new(Mutex::new(policies));
    let mut unsettled = false;
    loop {
        wait(unsettled, &look).await;
        let looked = look_at(&policies, "the policies' keys", |policies| {
            let found = policies.look();
            let current = (!found.changed.is_empty()).then(|| policies.current());
            (found, current)
        });
        let (found, current) = looked.await.unwrap_or_default();
        unsettled = found.unsettled;
        for error in found.broken {
            warn!(error = &error as &dyn std::error::Error, "a policy's keys have changed and can't be used; the old ones stay: {error}");
        }
        if let Some(current) = current {
            replace_policies(&hub, current);
            let changed = list(found.changed);
            info!("the keys of policies have changed: {changed}; who came in by one that is gone is sent away");
            followed(&hub, format!("keys of policies: {changed}")).await;
        }
    }
}

async fn follow_people(hub: Arc<Hub>, people: FollowedPeople, look: Arc<Notify>) {
    let people = Arc::new(Mutex::new(people));
    let mut unsettled = false;
    loop {
        wait(unsettled, &look).await;
        let looked = look_at(&people, "people's passwords", |people| {
            let found = people.look();
            let current = (!found.changed.is_empty()).then(|| people.current());
            (found, current)
        });
        let (found, current) = looked.await.unwrap_or_default();
        unsettled = found.unsettled;
        for error in found.broken {
            warn!(error = &error as &dyn std::error::Error, "a password has changed and can't be used; the old one stays: {error}");
        }
        if let Some(current) = current {
            replace_people(&hub, current);
            let changed = list(found.changed);
            info!("the passwords of people have changed: {changed}; who is signed in with an old one is signed out");
            followed(&hub, format!("passwords of people: {changed}")).await;
        }
    }
}

async fn follow_configuration(hub: Arc<Hub>, configuration: FollowedConfiguration, look: Arc<Notify>) {
    let configuration = Arc::new(Mutex::new(configuration));
    // It was read a moment ago, and may have changed since.
    let mut unsettled = true;
    loop {
        wait(unsettled, &look).await;
        let found = look_at(&configuration, "the configuration", FollowedConfiguration::look).await.unwrap_or(Found::Same);
        unsettled = matches!(found, Found::Unsettled);
        match found {
            Found::Same | Found::Unsettled => {}
            Found::Good(groups) => {
                hub.metrics.configuration_broken(false);
                if let Some(groups) = groups {
                    hub.consumer_groups.replace(groups);
                    let names = list(hub.consumer_groups.names());
                    info!("the consumer groups are others now: {names}; who read in one that is gone is sent away");
                    followed(&hub, format!("consumer groups: {names}")).await;
                }
            }
            Found::Broken(error) => {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "the configuration has changed and can't be used; the consumer groups stay as they were, and the hub could not start \
                     with it: {error}"
                );
                hub.metrics.configuration_broken(true);
            }
        }
    }
}

/// Writes down that a file has changed, and counts.
async fn followed(hub: &Arc<Hub>, what: String) {
    record_done(hub, &By::the_hub(), Deed::done(AuditAction::SettingsFollowed).saying(what)).await;
}

/// Waits until the files are to be looked at: soon when they have just changed.
async fn wait(unsettled: bool, look: &Notify) {
    if unsettled {
        time::sleep(SETTLE_TIME).await;
    } else {
        let _ = time::timeout(LOOK_EVERY, look.notified()).await;
    }
}

/// What a look at `files` has found, on a thread that may wait for the disk. `None` when it died of what it found: that is a mistake in
/// the hub, and the next change of the files is looked at all the same.
async fn look_at<Files, Found>(
    files: &Arc<Mutex<Files>>,
    what: &'static str,
    look: impl FnOnce(&mut Files) -> Found + Send + 'static,
) -> Option<Found>
where
    Files: Send + 'static,
    Found: Send + 'static,
{
    let files = Arc::clone(files);
    let looked = tokio::task::spawn_blocking(move || look(&mut files.lock().unwrap_or_else(PoisonError::into_inner)));
    looked.await.inspect_err(|error| error!(%error, "{what} could not be looked at, what was there stays: {error}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn files_that_kill_a_look_are_looked_at_again() {
        let files = Arc::new(Mutex::new(1));
        let died = look_at(&files, "they", |seen| {
            *seen = 2;
            assert!(*seen == 1, "of what it found");
        });
        assert_eq!(died.await, None);
        assert_eq!(look_at(&files, "they", |seen| *seen).await, Some(2));
    }
}
