//! Whether others than its own pod reach an etcd.

use super::{context::Context, marks::readable, options::Options, url::Url};
use crate::defrag::{
    finding::{Code, Finding, shorten},
    keys::Key,
};

/// The longest list of URLs that a message shows, in characters.
const SHOWN: usize = 160;

/// Where an etcd listens for clients.
pub(super) enum Listens {
    /// On these URLs, which only its own pod can dial, as a person reads them.
    Locally { urls: String, field: String },
    /// Where others reach it, or where that cannot be seen.
    Elsewhere,
}

/// Without a flag an etcd listens on loopback, which is certain if all its options are visible.
pub(super) fn at(options: &Options) -> Listens {
    let Some(setting) = options.get("listen-client-urls") else {
        return match options.started_at() {
            Some(field) if options.unreadable().is_none() => {
                Listens::Locally { urls: "http://localhost:2379, its default".to_owned(), field: field.to_owned() }
            }
            _ => Listens::Elsewhere,
        };
    };
    let local = |text: &str| is_socket(text) || Url::parse(text).is_some_and(|url| url.is_local());
    let mut urls = setting.value.split(',').filter(|url| !url.trim().is_empty()).peekable();
    if urls.peek().is_some() && urls.all(local) {
        Listens::Locally { urls: shorten(&readable(&setting.value), SHOWN), field: setting.field.clone() }
    } else {
        Listens::Elsewhere
    }
}

/// Whether a URL names a socket in the pod.
pub(super) fn is_socket(text: &str) -> bool {
    text.trim().starts_with("unix://") || text.trim().starts_with("unixs://")
}

/// That only its own pod reaches it.
pub(super) fn locally(context: &Context<'_>, urls: &str, field: String) -> Finding {
    Finding::new(
        Code::EtcdUnreachable,
        field,
        "etcd listens on loopback only: no run reaches it",
        format!(
            "This etcd listens for clients on {urls}, which only its own pod can dial, so no run reaches it. To have it \
             defragmented, add an address that other pods reach to --listen-client-urls, such as \
             https://0.0.0.0:2379 with TLS and --client-cert-auth. Otherwise remove the label, and defragment it from \
             inside the pod. Where something in the pod forwards connections to it, set {} to the URL of each member there.{}",
            Key::Endpoints.annotation(),
            context.overrides.note(&[Key::Endpoints])
        ),
    )
}
