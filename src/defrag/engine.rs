//! The engine's flags, and the versions that know them.

use super::finding::{Code, Finding, quoted};

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
        let page =
            |image| judge_image(image, "spec.job.image").map(|f| format!("{}\n{}\n", f.brief, f.message)).unwrap();
        insta::assert_snapshot!(page("etcd-defrag:v0.30.0") + &page("etcd-defrag:latest"));
    }
}
