//! The project's own image, as `make image` makes it but for how much the program is optimised.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

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
