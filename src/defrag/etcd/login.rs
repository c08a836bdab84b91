//! Whether clients have to log in.

use super::context::Context;

/// What Bitnami's image takes the password of root from. Where it has one, it switches authentication on.
const PASSWORDS: [&str; 2] = ["ETCD_ROOT_PASSWORD", "ETCD_ROOT_PASSWORD_FILE"];

/// Whether the pod template sets a root password, itself or by a file.
pub(super) fn is_asked_for(context: &Context<'_>) -> bool {
    let options = context.options();
    PASSWORDS.iter().any(|name| options.env(name).is_some_and(|setting| !setting.value.is_empty()))
}
