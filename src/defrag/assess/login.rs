//! A login that an etcd requires, or may require, and that no setting names.

use crate::defrag::{
    etcd::{Etcd, Overrides},
    finding::{Code, Finding, Severity},
    keys::Key,
};

/// An etcd with RBAC refuses a run that does not log in.
pub(super) fn missing(overrides: &Overrides, etcd: &Etcd) -> Option<Finding> {
    let login = etcd.login.as_ref().filter(|_| overrides.username_secret.is_none())?;
    let annotation = Key::UsernameSecret.annotation();
    let advice = match (&login.password, &login.usual) {
        (Some((name, key)), _) => format!(
            "The password is in the Secret {name}, key {key}: write {annotation}: \"{name}:user=root,{key}\". For another user, write \"name:userKey,passwordKey\"."
        ),
        (None, Some((name, key))) => format!(
            "If the password is in the Secret {name} under the key {key}, write {annotation}: \"{name}:user=root,{key}\"; else \"name:userKey,passwordKey\"."
        ),
        (None, None) => format!(
            "Write {annotation}: \"name:userKey,passwordKey\", or \"name:user=root,passwordKey\" where the Secret has a password only."
        ),
    };
    let (brief, found, severity) = if login.is_certain {
        let found =
            "so this etcd requires every client to log in, and no Secret for that is named: each run would fail.";
        ("etcd requires a login: name its Secret in username-secret", found, Severity::Deny)
    } else {
        let found = "so this etcd may require every client to log in, and no Secret for that is named: if it does, each run fails.";
        ("etcd may require a login: if so, name its Secret in username-secret", found, Severity::Warn)
    };
    let finding = Finding::new(
        Code::CredentialsUnknown,
        Key::UsernameSecret.field(),
        brief,
        format!("{}, {found} {advice}{}", login.shown, overrides.note(&[Key::UsernameSecret])),
    );
    Some(finding.with_severity(severity))
}
