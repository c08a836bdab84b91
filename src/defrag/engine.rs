//! etcd-defrag: the image that runs where a policy names none, its flags, and the versions that know them.

use super::finding::{Code, Finding, quoted};

/// The newest image of etcd-defrag that this release knows. A policy without `job.image` runs it.
pub const IMAGE: &str = "ghcr.io/ahrtr/etcd-defrag:v0.42.0";

const REGISTRY: &str = "ghcr.io";
const PATH: &str = "/ahrtr/etcd-defrag";
/// The tags of the images that earlier definitions of `DefragPolicy` had as the default of `job.image`, which the API server
/// stored in each policy. The definition has no default any more, so none is added when [`IMAGE`] changes.
const FORMER_TAGS: [&str; 1] = [":v0.42.0"];

/// Where the image of etcd-defrag comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageSource {
    /// The policy has none: it is that of the installation.
    NotSet,
    /// The policy has the default of an earlier definition, which counts as none.
    StoredDefault,
    /// The policy names it.
    Policy,
}

/// The image of etcd-defrag for a policy with this `job.image`, and where it comes from. `installed` is what runs where a
/// policy names none: [`IMAGE`], or what `serve --engine-image` says.
#[must_use]
pub fn image<'a>(written: Option<&'a str>, installed: &'a str) -> (&'a str, ImageSource) {
    let Some(written) = written else { return (installed, ImageSource::NotSet) };
    // On the registry of this installation, too: earlier charts wrote it into their own policy.
    let registry = installed.split_once(PATH).map(|(registry, _)| registry);
    let is_former = |tag: &str| {
        let rest = written.strip_suffix(tag).and_then(|image| image.strip_suffix(PATH));
        rest.is_some_and(|there| there == REGISTRY || Some(there) == registry)
    };
    if FORMER_TAGS.iter().any(|tag| is_former(tag)) {
        return (installed, ImageSource::StoredDefault);
    }
    (written, ImageSource::Policy)
}

/// The tag of [`IMAGE`]: the version of etcd-defrag.
#[must_use]
pub fn newest_known() -> &'static str {
    IMAGE.rsplit(':').next().unwrap_or_default()
}

/// A version of etcd-defrag: major, minor, patch.
type Version = (u32, u32, u32);

/// Each flag that a run may be given, with the first version that knows it (the tags of github.com/ahrtr/etcd-defrag).
pub const FLAGS: [(&str, Version); 16] = [
    ("endpoints", (0, 1, 0)),
    ("cacert", (0, 1, 0)),
    ("cert", (0, 1, 0)),
    ("key", (0, 1, 0)),
    ("etcd-storage-quota-bytes", (0, 1, 0)),
    ("defrag-rule", (0, 1, 0)),
    ("command-timeout", (0, 1, 0)),
    ("dial-timeout", (0, 1, 0)),
    ("continue-on-error", (0, 1, 0)),
    ("compaction", (0, 1, 0)),
    ("dry-run", (0, 16, 0)),
    ("move-leader", (0, 23, 0)),
    ("skip-healthcheck-cluster-endpoints", (0, 32, 0)),
    ("wait-between-defrags", (0, 33, 0)),
    ("auto-disalarm", (0, 33, 0)),
    ("disalarm-threshold", (0, 33, 0)),
];

/// Whether an image is one of etcd-defrag, wherever it is mirrored to.
#[must_use]
pub fn is_etcd_defrag(image: &str) -> bool {
    let untagged = image.split('@').next().unwrap_or_default();
    let name = untagged.rsplit('/').next().unwrap_or_default();
    name.split(':').next() == Some("etcd-defrag")
}

/// What is wrong with the image of a policy's runs: it is too old for a flag of theirs, or its version cannot be read.
#[must_use]
pub fn judge_image(image: &str, field: &'static str) -> Option<Finding> {
    let Some(version) = version(image) else {
        let (needed, _) = newest();
        let needed = text(needed);
        return Some(Finding::new(
            Code::EngineVersionUnknown,
            field,
            format!("no etcd-defrag version in the image's tag; needs {needed} or newer"),
            format!(
                "The image {} shows no version of etcd-defrag. A version that does not know a flag of the run ends with an \
                 error each time: make sure that it is {needed} or newer.",
                quoted(image)
            ),
        ));
    };
    let unknown: Vec<&str> = FLAGS.iter().filter(|(_, since)| *since > version).map(|(flag, _)| *flag).collect();
    let (needed, _) = newest();
    (!unknown.is_empty()).then(|| {
        let (found, needed) = (text(version), text(needed));
        Finding::new(
            Code::EngineTooOld,
            field,
            format!("etcd-defrag {found} does not know --{}; write {needed} or newer", unknown.first().unwrap_or(&"")),
            format!(
                "The image {} is etcd-defrag {found}, which does not know --{}: every run would end with an error before it \
                 reaches a member. Write the tag {needed} or newer.",
                quoted(image),
                unknown.join(", --")
            ),
        )
    })
}

/// The version that knows all flags, and a flag that older ones do not know.
fn newest() -> (Version, &'static str) {
    FLAGS.iter().map(|(flag, since)| (*since, *flag)).max().unwrap_or_default()
}

fn text((major, minor, patch): Version) -> String {
    format!("v{major}.{minor}.{patch}")
}

/// The version that the tag of an image shows. Other programs have versions of their own, which say nothing.
fn version(image: &str) -> Option<Version> {
    let untagged = image.split('@').next()?;
    let (repository, tag) = untagged.rsplit('/').next()?.split_once(':')?;
    if !repository.contains("etcd-defrag") {
        return None;
    }
    let mut parts = tag.strip_prefix('v').unwrap_or(tag).splitn(3, '.');
    let (major, minor) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    let patch = parts.next()?;
    let end = patch.find(|c: char| !c.is_ascii_digit()).unwrap_or(patch.len());
    Some((major, minor, patch.get(..end)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_that_no_policy_names_follows_the_release_and_one_that_it_names_stays() {
        use ImageSource::{NotSet, Policy, StoredDefault};
        const NEXT: &str = "ghcr.io/ahrtr/etcd-defrag:v0.43.0";
        const DIGEST: &str = "ghcr.io/ahrtr/etcd-defrag:v0.42.0@sha256:00";
        const MIRROR: &str = "mirror:5000/team/ahrtr/etcd-defrag:v0.43.0@sha256:00";
        let former = "ghcr.io/ahrtr/etcd-defrag:v0.42.0";
        let mirrored = "mirror:5000/team/ahrtr/etcd-defrag:v0.42.0";
        let older = "ghcr.io/ahrtr/etcd-defrag:v0.41.0";
        for (written, installed, expected, source) in [
            (None, NEXT, NEXT, NotSet),
            (Some(former), NEXT, NEXT, StoredDefault),
            (Some(older), NEXT, older, Policy),
            (Some(DIGEST), NEXT, DIGEST, Policy),
            (Some(mirrored), NEXT, mirrored, Policy),
            (None, MIRROR, MIRROR, NotSet),
            (Some(former), MIRROR, MIRROR, StoredDefault),
            (Some(mirrored), MIRROR, MIRROR, StoredDefault),
            (Some(mirrored), "mirror:5000/ours:v1", mirrored, Policy),
            (Some("xghcr.io/ahrtr/etcd-defrag:v0.42.0"), NEXT, "xghcr.io/ahrtr/etcd-defrag:v0.42.0", Policy),
        ] {
            assert_eq!(image(written, installed), (expected, source), "{written:?} {installed}");
        }
    }

    /// The default engine supports all flags, and shows its version.
    #[test]
    fn the_image_of_this_release_is_a_version_that_knows_every_flag() {
        assert_eq!(judge_image(IMAGE, "spec.job.image"), None);
        assert_eq!(Some(newest_known().to_owned()), version(IMAGE).map(text));
        assert!(IMAGE.starts_with(&format!("{REGISTRY}{PATH}:")), "{IMAGE}");
    }

    #[test]
    fn an_old_image_is_refused_and_an_unreadable_one_warned_about() {
        let code = |image: &str| judge_image(image, "spec.job.image").map(|finding| finding.code);
        for (image, expected) in [
            ("ghcr.io/ahrtr/etcd-defrag:v0.42.0", None),
            ("ghcr.io/ahrtr/etcd-defrag:v0.33.0", None),
            ("mirror:5000/x/etcd-defrag:0.40.1-alpine@sha256:00", None),
            ("etcd-defrag:v1.0.0", None),
            ("ghcr.io/ahrtr/etcd-defrag:v0.32.0", Some(Code::EngineTooOld)),
            ("ghcr.io/ahrtr/etcd-defrag:v0.15.0", Some(Code::EngineTooOld)),
            ("ghcr.io/ahrtr/etcd-defrag:latest", Some(Code::EngineVersionUnknown)),
            ("ghcr.io/ahrtr/etcd-defrag@sha256:00", Some(Code::EngineVersionUnknown)),
            ("ghcr.io/ahrtr/etcd-defrag", Some(Code::EngineVersionUnknown)),
            ("mirror:5000/defragmenter:v0.10.0", Some(Code::EngineVersionUnknown)),
        ] {
            assert_eq!(code(image), expected, "{image}");
        }
        for image in ["ghcr.io/ahrtr/etcd-defrag:v0.42.0", "mirror:5000/x/etcd-defrag@sha256:00", "etcd-defrag"] {
            assert!(is_etcd_defrag(image), "{image}");
        }
        for image in ["etcd-defrag-webhook:0.1.0", "mirror:5000/etcd-defrag/runner:1", ""] {
            assert!(!is_etcd_defrag(image), "{image}");
        }
        let page =
            |image| judge_image(image, "spec.job.image").map(|f| format!("{}\n{}\n", f.brief, f.message)).unwrap();
        insta::assert_snapshot!(page("etcd-defrag:v0.30.0") + &page("etcd-defrag:latest"));
    }
}
