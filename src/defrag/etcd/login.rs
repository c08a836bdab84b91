//! Whether clients have to log in.

use super::{
    context::Context,
    types::{Kind, Login},
};

/// What Bitnami's image takes the password of root from. Where it has one, it switches authentication on.
const PASSWORD: &str = "ETCD_ROOT_PASSWORD";
const PASSWORD_FILE: &str = "ETCD_ROOT_PASSWORD_FILE";

/// Whether the pod template sets a root password, itself or by a file, and in which Secret that stands.
pub(super) fn asked_for(context: &Context<'_>) -> Option<Login> {
    let set = |name: &str| context.options().env(name).filter(|setting| !setting.value.is_empty());
    if set(PASSWORD).is_some() {
        let variable = context.container().env.iter().rev().find(|variable| variable.name == PASSWORD);
        let reference = variable.and_then(|variable| variable.value_from.as_ref()?.secret_key_ref.as_ref());
        let named = reference.filter(|reference| !reference.name.is_empty() && !reference.key.is_empty());
        return Some(Login { password: named.map(|reference| (reference.name.clone(), reference.key.clone())) });
    }
    let file = set(PASSWORD_FILE)?;
    let object = file.known().and_then(|path| context.files.object(context.container(), path));
    let secret = object.filter(|object| object.kind == Kind::Secret);
    Some(Login { password: secret.map(|object| (object.name, object.key)) })
}
