//! A volume that has no room for a second copy of the database.

use crate::defrag::{
    etcd::{DataVolume, Etcd, Quota},
    finding::{Code, Finding},
    policy::Limits,
    quantity::human,
};

pub(super) fn volume(etcd: &Etcd, quota: &Quota, limits: &Limits) -> Option<Finding> {
    let volume = etcd.data_volume.as_ref()?;
    let bytes = volume.bytes?;
    let needed = part(quota.bytes, limits.volume_refused_below);
    let advised = part(quota.bytes, limits.volume_warned_below);
    let short = Shortage { volume, bytes, quota, limits, ample: human(advised.max(needed)) };
    if bytes < needed {
        return Some(if quota.is_default { short.under_default() } else { short.too_small(needed) });
    }
    (bytes < advised).then(|| short.tight())
}

/// A volume that is too small for the quota.
struct Shortage<'a> {
    volume: &'a DataVolume,
    bytes: u64,
    quota: &'a Quota,
    limits: &'a Limits,
    /// What it should have, in words.
    ample: String,
}

impl Shortage<'_> {
    fn too_small(&self, needed: u64) -> Finding {
        let Self { volume, bytes, quota, ample, .. } = self;
        let (size, limit, refused) = (human(*bytes), human(quota.bytes), self.limits.volume_refused_below);
        let least = human(needed);
        let (brief, less) = if refused == 100 {
            (format!("the volume of {size} is smaller than the quota of {limit}"), format!("the quota of {limit}"))
        } else {
            let brief = format!("the volume of {size} is under {least}, {refused}% of the quota of {limit}");
            (brief, format!("{least}, which is {refused}% of the quota of {limit}"))
        };
        let message = format!(
            "The volume {} has {size}, less than {less} ({}): {}a defragmentation, which writes a second copy of the database, \
             fails on a full disk. Enlarge the volume to {ample}, or lower the quota {}.",
            volume.name,
            quota.source,
            self.full_first(),
            self.half()
        );
        Finding::new(Code::VolumeTooSmall, volume.field.clone(), brief, message)
    }

    /// A quota that nobody chose is no reason to leave an etcd without any defragmentation, which fills its volume sooner.
    fn under_default(&self) -> Finding {
        let Self { volume, bytes, quota, limits, ample } = self;
        let (size, limit) = (human(*bytes), human(quota.bytes));
        let half = u128::from(*bytes) * 100 / u128::from(limits.volume_warned_below.max(100));
        let half = u64::try_from(half).unwrap_or(u64::MAX);
        let message = format!(
            "The volume {} has {size}, and the quota of this etcd is {limit} ({}): {}a defragmentation, which writes a second copy \
             of the database, fails on a full disk. Set --quota-backend-bytes={half} ({}), or enlarge the volume to {ample}.",
            volume.name,
            quota.source,
            self.full_first(),
            human(half)
        );
        let brief = format!("the volume of {size} is too small for etcd's default quota of {limit}; set a quota");
        Finding::new(Code::VolumeTight, volume.field.clone(), brief, message)
    }

    fn tight(&self) -> Finding {
        let Self { volume, bytes, quota, limits, ample } = self;
        let (size, limit) = (human(*bytes), human(quota.bytes));
        let times = in_words(limits.volume_warned_below, "twice");
        let message = format!(
            "The volume {} has {size}, less than {times} the quota of {limit} ({}). A defragmentation writes a second copy of the \
             database, so a nearly full one does not fit. Enlarge the volume to {ample}, or lower the quota {}.",
            volume.name,
            quota.source,
            self.half()
        );
        let brief = format!("the volume of {size} is under {times} the quota of {limit}");
        Finding::new(Code::VolumeTight, volume.field.clone(), brief, message)
    }

    fn full_first(&self) -> &'static str {
        if self.bytes < self.quota.bytes { "the disk is full before the quota is reached, and " } else { "" }
    }

    fn half(&self) -> String {
        in_words(self.limits.volume_warned_below, "to half of the volume")
    }
}

fn part(quota: u64, percent: u32) -> u64 {
    u64::try_from(u128::from(quota) * u128::from(percent) / 100).unwrap_or(u64::MAX)
}

/// Words for the usual 200 %, else the number.
fn in_words(percent: u32, usual: &str) -> String {
    match (percent, usual) {
        (200, usual) => usual.to_owned(),
        (_, "twice") => format!("{percent}% of"),
        _ => format!("so far that the volume is {percent}% of it"),
    }
}
