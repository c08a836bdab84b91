//! Which image the runs of a policy have, and where it comes from.

use crate::defrag::{
    cronjob,
    engine::{self, ImageSource},
    policy::api::{self, Engine},
};

/// What `serve` knows of images.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Images<'a> {
    /// Our own one.
    pub(super) own: Option<&'a str>,
    /// That of etcd-defrag where a policy names none.
    pub(super) engine: Option<&'a str>,
}

/// The image of the runs under a policy; whether it follows the installed release, the reason and what to do otherwise.
pub(super) fn followed(shape: &api::Job, images: Images<'_>) -> (String, (bool, &'static str, String)) {
    let (image, source) = cronjob::image(shape, images.own, images.engine);
    let image = image.to_owned();
    let built_in = shape.engine == Engine::BuiltIn;
    let known = engine::newest_known();
    let told = match source {
        ImageSource::NotSet if built_in => {
            (true, "BuiltIn", format!("Runs use the image of etcd-defrag-webhook itself, {image}."))
        }
        ImageSource::NotSet => (true, "NotSet", format!("Runs use {image}, which follows the installed release.")),
        ImageSource::StoredDefault => (
            true,
            "StoredDefault",
            format!(
                "Runs use {image}, which follows the installed release. spec.job.image is {}, which an earlier release \
                 stored as its default, so it counts as not set. Remove it, or write the image with its digest to keep that version.",
                shape.image.as_deref().unwrap_or_default()
            ),
        ),
        ImageSource::Policy if built_in => (
            false,
            "SetByPolicy",
            format!(
                "Runs use {image}, which spec.job.image names, and no upgrade changes that. To follow etcd-defrag-webhook, \
                 remove spec.job.image."
            ),
        ),
        ImageSource::Policy => (
            false,
            "SetByPolicy",
            format!(
                "Runs use {image}, which spec.job.image names, and no upgrade changes that. The newest etcd-defrag that this \
                 release knows is {known}. To follow it, remove spec.job.image."
            ),
        ),
    };
    (image, told)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn each_source_of_the_image_in_words() {
        let mut page = String::new();
        for engine in [Engine::EtcdDefrag, Engine::BuiltIn] {
            for image in [
                None,
                Some("ghcr.io/ahrtr/etcd-defrag:v0.42.0"),
                Some("ghcr.io/ahrtr/etcd-defrag:v0.41.0"),
                Some("mirror.example/ours:1"),
            ] {
                let shape = api::Job { engine, image: image.map(str::to_owned), ..api::Job::default() };
                let images = Images { own: Some("mirror.example/webhook:2"), engine: None };
                let (uses, (follows, reason, message)) = followed(&shape, images);
                let _ = writeln!(page, "{engine:?} {image:?}\n  {uses} {follows} {reason}\n  {message}");
            }
        }
        insta::assert_snapshot!(page);
    }

    #[test]
    fn the_image_of_the_installation_is_followed() {
        let there = "mirror.example/ahrtr/etcd-defrag:v0.43.0";
        let source = |image: Option<&str>| {
            let shape = api::Job { image: image.map(str::to_owned), ..api::Job::default() };
            let (image, (_, reason, _)) = followed(&shape, Images { own: None, engine: Some(there) });
            (image, reason)
        };
        assert_eq!(source(None), (there.to_owned(), "NotSet"));
        assert_eq!(source(Some("mirror.example/ahrtr/etcd-defrag:v0.42.0")), (there.to_owned(), "StoredDefault"));
        assert_eq!(source(Some("quay.io/a/etcd-defrag:v0.42.0")).1, "SetByPolicy");
    }
}
