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
    pub const fn repaired_by(self) -> Option<Self> {
        let (minor, patch) = match (self.major, self.minor, self.patch) {
            (3, 4, 0..4) => (4, 4),
            (0..3, _, _) | (3, 0..4, _) | (3, 5, 0..6) => (5, 6),
            _ => return None,
        };
        Some(Self { major: 3, minor, patch })
    }
}

/// The version in the tag of an etcd image. Wrappers around etcd have versions of their own, which say nothing.
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
    (version.major >= 2).then_some(version)
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
}
