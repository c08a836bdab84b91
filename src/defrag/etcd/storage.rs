//! The volume under the database.

use std::collections::BTreeSet;

use super::{context::Context, mounts, types::DataVolume};
use crate::defrag::quantity;

/// The volume that holds the database: where the data directory is mounted, or else the only volume claim template
/// that the container mounts.
pub(super) fn discover(context: &Context<'_>) -> Option<DataVolume> {
    let directory = context.options().get("data-dir").map(|setting| setting.value.as_str());
    let name = match directory {
        Some(directory) => mounts::volume_of(context.container(), directory)?,
        None => only_claim(context)?,
    };
    let spec = &context.sts.spec;
    let claim = spec.volume_claim_templates.iter().enumerate().find(|(_, claim)| claim.metadata.name == name);
    if let Some((index, claim)) = claim {
        let size = claim.spec.resources.requests.as_ref().and_then(|requests| requests.get("storage"));
        return Some(DataVolume {
            name: name.to_owned(),
            bytes: size.and_then(|size| quantity::parse(&size.0).ok()),
            field: format!("spec.volumeClaimTemplates[{index}].spec.resources.requests.storage"),
            claim: None,
        });
    }
    let (index, volume) = spec.template.spec.volumes.iter().enumerate().find(|(_, volume)| volume.name == name)?;
    let (size, part) = if let Some(ephemeral) = &volume.ephemeral {
        let requests = ephemeral.volume_claim_template.spec.resources.requests.as_ref();
        let size = requests.and_then(|requests| requests.get("storage"));
        (size, "ephemeral.volumeClaimTemplate.spec.resources.requests.storage")
    } else if volume.persistent_volume_claim.is_some() {
        (None, "persistentVolumeClaim.claimName")
    } else {
        (volume.empty_dir.as_ref()?.size_limit.as_ref(), "emptyDir.sizeLimit")
    };
    Some(DataVolume {
        name: name.to_owned(),
        bytes: size.and_then(|size| quantity::parse(&size.0).ok()),
        field: format!("spec.template.spec.volumes[{index}].{part}"),
        claim: volume.persistent_volume_claim.as_ref().map(|claim| claim.claim_name.clone()),
    })
}

fn only_claim<'a>(context: &Context<'a>) -> Option<&'a str> {
    let mounted: BTreeSet<&str> = context.container().volume_mounts.iter().map(|mount| mount.name.as_str()).collect();
    let mut claims = context
        .sts
        .spec
        .volume_claim_templates
        .iter()
        .map(|claim| claim.metadata.name.as_str())
        .filter(|name| mounted.contains(name));
    match (claims.next(), claims.next()) {
        (only, None) => only,
        _ => None,
    }
}
