//! The version that an image's tag shows.

use std::fmt;

use serde::{Serialize, Serializer};

/// A version of etcd. Pre-releases count as the release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// 3 in 3.5.21.
    pub major: u32,
    /// 5 in 3.5.21.
    pub minor: u32,
    /// 21 in 3.5.21.
    pub patch: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Version {
    /// The first release of the same minor line without the known defragmentation bugs, where this one has them.
    ///
    /// 3.5.0 to 3.5.5 leave inconsistent data behind when a member crashes in mid-defragmentation (etcd issue 14685).
    #[must_use]
    pub fn repaired_by(self) -> Option<Self> {
        const REPAIRED: [Version; 2] = [Version::of_3(4, 4), Version::of_3(5, 6)];
        if self.is_supported() { self.before(REPAIRED) } else { REPAIRED.last().copied() }
    }
}

impl Version {
    /// Whether the engine supports its line: it does from 3.4 on.
    #[must_use]
    pub const fn is_supported(self) -> bool {
        !matches!((self.major, self.minor), (0..3, _) | (3, 0..4))
    }

    /// The first release of the same minor line that keeps its revisions when a member crashes after a compaction to the newest one
    /// (etcd issue 17780), where this one does not.
    #[must_use]
    pub fn keeps_revisions_from(self) -> Option<Self> {
        self.before([Self::of_3(4, 32), Self::of_3(5, 14)])
    }

    /// The first release of the same minor line whose members do not panic when the disk is full in a defragmentation (etcd issue
    /// 18810), where those of this one do.
    #[must_use]
    pub fn bears_a_full_disk_from(self) -> Option<Self> {
        self.before([Self::of_3(4, 35), Self::of_3(5, 17)])
    }

    const fn of_3(minor: u32, patch: u32) -> Self {
        Self { major: 3, minor, patch }
    }

    /// The one of these releases that is of the same minor line and later.
    fn before(self, releases: [Self; 2]) -> Option<Self> {
        let same_line = |release: &Self| (release.major, release.minor) == (self.major, self.minor);
        releases.into_iter().find(|release| same_line(release) && self.patch < release.patch)
    }
}

/// The version in the tag of an etcd image. Wrappers around etcd have versions of their own, which say nothing, and so have images
/// of somebody's own whose tags are a date or another count: there is no etcd 4.
pub(super) fn from_image(image: &str) -> Option<Version> {
    let untagged = image.split('@').next()?;
    let last = untagged.rsplit('/').next()?;
    let (repository, tag) = last.split_once(':')?;
    if ["wrapper", "launcher", "operator", "backup"].iter().any(|other| repository.contains(other)) {
        return None;
    }
    let mut parts = tag.strip_prefix('v').unwrap_or(tag).splitn(3, '.');
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next()?.parse().ok()?;
    let patch = parts.next()?;
    let end = patch.find(|c: char| !c.is_ascii_digit()).unwrap_or(patch.len());
    let version = Version { major, minor, patch: patch.get(..end)?.parse().ok()? };
    matches!((version.major, version.minor), (2, _) | (3, ..20)).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_of_the_known_images() {
        for (image, version) in [
            ("quay.io/coreos/etcd:v3.6.12", Some("3.6.12")),
            ("registry.k8s.io/etcd:3.5.21-0", Some("3.5.21")),
            ("docker.io/bitnamilegacy/etcd:3.5.17-debian-12-r1", Some("3.5.17")),
            ("registry:5000/etcd:v3.4.3@sha256:0123", Some("3.4.3")),
            ("gcr.io/etcd-development/etcd:v3.6.0-rc.2", Some("3.6.0")),
            ("registry:5000/etcd", None),
            ("etcd@sha256:0123", None),
            ("etcd:latest", None),
            ("etcd:v3.5", None),
            ("etcd:3.x.1", None),
            ("etcd:99999999999.1.1", None),
            ("my/etcd:1.4.2", None),
            ("my/etcd:4.15.0", None),
            ("my/etcd:2024.1.7", None),
            ("my/etcd:v22.04.1", None),
            ("my/etcd:3.2024.1", None),
            ("europe-docker.pkg.dev/gardener-project/etcd-wrapper:v3.5.0", None),
            ("", None),
        ] {
            assert_eq!(from_image(image).map(|v| v.to_string()).as_deref(), version, "{image}");
        }
    }

    #[test]
    fn old_lines_are_repaired_by_a_release_of_their_own_or_a_newer_line() {
        for (version, repaired) in [
            ((2, 3, 8), Some("3.5.6")),
            ((3, 3, 27), Some("3.5.6")),
            ((3, 4, 3), Some("3.4.4")),
            ((3, 4, 4), None),
            ((3, 5, 5), Some("3.5.6")),
            ((3, 5, 6), None),
            ((3, 6, 0), None),
            ((4, 0, 0), None),
        ] {
            let version = Version { major: version.0, minor: version.1, patch: version.2 };
            assert_eq!(version.repaired_by().map(|v| v.to_string()).as_deref(), repaired, "{version}");
        }
    }

    #[test]
    fn bugs_end_with_a_release_of_each_line() {
        let shown = |version: Option<Version>| version.map(|version| version.to_string());
        for (version, supported, revisions, disk) in [
            ((2, 3, 8), false, None, None),
            ((3, 3, 19), false, None, None),
            ((3, 4, 31), true, Some("3.4.32"), Some("3.4.35")),
            ((3, 4, 32), true, None, Some("3.4.35")),
            ((3, 4, 34), true, None, Some("3.4.35")),
            ((3, 4, 35), true, None, None),
            ((3, 5, 13), true, Some("3.5.14"), Some("3.5.17")),
            ((3, 5, 14), true, None, Some("3.5.17")),
            ((3, 5, 16), true, None, Some("3.5.17")),
            ((3, 5, 17), true, None, None),
            ((3, 6, 0), true, None, None),
            ((4, 0, 0), true, None, None),
        ] {
            let version = Version { major: version.0, minor: version.1, patch: version.2 };
            assert_eq!(version.is_supported(), supported, "{version}");
            assert_eq!(shown(version.keeps_revisions_from()).as_deref(), revisions, "{version}");
            assert_eq!(shown(version.bears_a_full_disk_from()).as_deref(), disk, "{version}");
        }
    }
}
