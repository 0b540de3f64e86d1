//! Sees to it that a Device's Secret is there, is ours, and holds what it is to hold.

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{DeleteParams, PostParams, Preconditions};

use super::DeviceName;
use super::build::{corrected, is_as_wanted};
use super::caches::Right;
use super::context::Context;
use super::status::Problem;
use crate::labels::{MANAGER, short_hash};
use crate::ownership;

/// Keeps it so. Writes only when it has to; reads only when the watch has shown another version than the one that was right. Answers the
/// problem when the name is somebody else's.
pub async fn keep(context: &Context, owner_uid: &str, wanted: &Secret) -> Result<Result<(), Problem>, kube::Error> {
    let name = DeviceName::of(wanted);
    let wish = short_hash(&serde_json::to_vec(wanted).map_err(kube::Error::SerdeError)?);
    if context.secrets.is_right(&name, &wish) {
        return Ok(Ok(()));
    }
    let api = Api::<Secret>::namespaced(context.client.clone(), &name.namespace);
    let by_us = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
    let mut there = None;
    if context.secrets.is_shown(&name) {
        there = api.get_opt(&name.name).await?;
    }
    let written = match there {
        None => match api.create(&by_us, wanted).await {
            // Somebody was quicker, or the watch is behind.
            Err(kube::Error::Api(error)) if error.code == 409 => match api.get_opt(&name.name).await? {
                Some(has) => correct(&api, &by_us, owner_uid, &has, wanted).await?,
                None => return Err(kube::Error::Api(error)),
            },
            created => Some(created?),
        },
        Some(has) => correct(&api, &by_us, owner_uid, &has, wanted).await?,
    };
    let Some(written) = written else {
        let message = format!(
            "there is a Secret {} already that is not this Device's, and it is not touched: remove it, or give the Device another \
             credentials.secretName",
            name.name
        );
        return Ok(Err(Problem::new("SecretConflict", message)));
    };
    context.secrets.is_now_right(&name, Right { version: written.metadata.resource_version.unwrap_or_default(), wanted: wish });
    Ok(Ok(()))
}

/// The Secret as it is then; `None` when it is somebody else's.
async fn correct(
    api: &Api<Secret>,
    by_us: &PostParams,
    owner_uid: &str,
    has: &Secret,
    wanted: &Secret,
) -> Result<Option<Secret>, kube::Error> {
    if !ownership::is_controlled_by(&has.metadata, owner_uid) {
        return Ok(None);
    }
    if is_as_wanted(has, wanted) {
        return Ok(Some(has.clone()));
    }
    let name = wanted.metadata.name.as_deref().unwrap_or_default();
    api.replace(name, by_us, &corrected(has, wanted)).await.map(Some)
}

/// Takes away the Secret of a name that the Device has given up, if it is ours.
pub async fn give_up(context: &Context, owner_uid: &str, name: &DeviceName) -> Result<(), kube::Error> {
    if !context.secrets.is_shown(name) {
        return Ok(());
    }
    let api = Api::<Secret>::namespaced(context.client.clone(), &name.namespace);
    let Some(has) = api.get_metadata_opt(&name.name).await? else { return Ok(()) };
    if !ownership::is_controlled_by(&has.metadata, owner_uid) {
        return Ok(());
    }
    let only_this = Preconditions { uid: has.metadata.uid, resource_version: None };
    match api.delete(&name.name, &DeleteParams { preconditions: Some(only_this), ..DeleteParams::default() }).await {
        Err(kube::Error::Api(error)) if matches!(error.code, 404 | 409) => Ok(()),
        other => other.map(drop),
    }
}
