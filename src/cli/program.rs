//! What this program is called.

use std::{ffi::OsStr, path::Path, sync::OnceLock};

/// Its own name.
const NAME: &str = env!("CARGO_PKG_NAME");
/// Its name as a plugin of kubectl, which looks for a file of this name for `kubectl etcd-defrag`.
const PLUGIN: &str = "kubectl-etcd_defrag";
/// How people call the plugin.
const AS_PLUGIN: &str = "kubectl etcd-defrag";

/// How people call this program: by its name, or as a plugin of kubectl where it is installed as one.
pub(super) fn called() -> &'static str {
    static CALLED: OnceLock<&str> = OnceLock::new();
    CALLED.get_or_init(|| name(std::env::args_os().next().as_deref()))
}

fn name(first: Option<&OsStr>) -> &'static str {
    // With .exe on Windows.
    let is_plugin = first.and_then(|first| Path::new(first).file_stem()).is_some_and(|stem| stem == PLUGIN);
    if is_plugin { AS_PLUGIN } else { NAME }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_plugin_where_kubectl_finds_it_as_one() {
        let name = |first: &str| name(Some(OsStr::new(first)));
        assert_eq!(name("/usr/local/bin/kubectl-etcd_defrag"), "kubectl etcd-defrag");
        assert_eq!(name("kubectl-etcd_defrag"), "kubectl etcd-defrag");
        assert_eq!(name("/kubectl-etcd_defrag/etcd-defrag-webhook"), "etcd-defrag-webhook");
        assert_eq!(super::name(None), "etcd-defrag-webhook");
    }
}
