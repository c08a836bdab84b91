//! The project's own image, as `make image` makes it but for how much the program is optimised.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use super::{Node, unavailable};

/// The archive of the image `etcd-defrag-webhook:<version>`, of the program of these sources. Built at the first call,
/// with progress on standard error, unless `ETCD_DEFRAG_IMAGE` names one.
pub fn own_image() -> &'static Path {
    static ARCHIVE: OnceLock<PathBuf> = OnceLock::new();
    ARCHIVE.get_or_init(|| {
        if let Some(archive) = std::env::var_os("ETCD_DEFRAG_IMAGE") {
            return PathBuf::from(archive);
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/image.sh");
        let output = Command::new(&script)
            .arg("--quick")
            .stderr(Stdio::inherit())
            .output()
            .unwrap_or_else(|error| panic!("run {}: {error}", script.display()));
        assert!(output.status.success(), "{} failed ({}); it says why above", script.display(), output.status);
        PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
    })
}

impl Node {
    /// A node that has the project's own image, and what `more` adds to the arguments of `controlplane up`. Images are made only
    /// where a node can run; elsewhere it says why none can.
    pub fn start_with_own_image(test: &str, more: impl FnOnce() -> Vec<String>) -> Option<Self> {
        if unavailable().is_some() {
            return Self::start(test);
        }
        let mut args = more();
        args.push(image_argument(own_image()));
        Self::start_with(test, &args)
    }
}

/// The argument of `controlplane up` for an image archive.
pub fn image_argument(archive: &Path) -> String {
    format!("--image={}", archive.display())
}
