//! Keys of a Secret in the wrong order. Their names are free, so this only warns.

use super::{
    super::{
        finding::{Code, Finding, Severity, quoted},
        keys::Key,
    },
    Parser,
};

impl Parser<'_> {
    /// That the keys of a Secret look as if they were swapped, or as if a private key were named as a certificate. `write` is the
    /// part behind the Secret's name that is right then.
    fn warn_of_keys(&mut self, key: Key, what: &str, write: Option<String>) {
        let Some(value) = self.take(key) else { return };
        let name = value.split(':').next().unwrap_or_default();
        let write = match write {
            Some(keys) => format!("Write \"{name}:{keys}\", unless the Secret has them in this way."),
            None => "Name the key of the Secret that holds the certificate of the authority.".to_owned(),
        };
        let found = quoted(value);
        let place = self.place;
        let finding = Finding::new(
            Code::SecretReferenceInvalid,
            place.field(key),
            format!("{} {what}", place.name(key)),
            format!("{found} {what}: each run would fail. {write}"),
        );
        self.findings.push(finding.with_severity(Severity::Warn));
    }

    /// The certificate comes first, then its private key.
    pub(super) fn warn_of_swapped_pair(&mut self, (cert, key): (&str, &str)) {
        if is_private_key(cert) && !is_private_key(key) {
            self.warn_of_keys(
                Key::ClientSecret,
                "names the private key in front of the certificate",
                Some(format!("{key},{cert}")),
            );
        }
    }

    /// The name of the user comes first, then the password.
    pub(super) fn warn_of_swapped_login(&mut self, (user, password): (&str, &str)) {
        if is_password(user) && !is_password(password) && !user.contains('=') {
            self.warn_of_keys(
                Key::UsernameSecret,
                "names the password in front of the user",
                Some(format!("{password},{user}")),
            );
        }
    }

    /// An authority is known by its certificate.
    pub(super) fn warn_of_private_authority(&mut self, key: &str) {
        if is_private_key(key) {
            self.warn_of_keys(Key::CaSecret, "names a private key and no certificate", None);
        }
    }
}

/// Whether a key is called as files with private keys are: `tls.key`, `server-key.pem`.
fn is_private_key(key: &str) -> bool {
    let bare = key.to_lowercase();
    let bare = bare.trim_end_matches(".pem");
    bare.rsplit(['.', '-', '_']).next() == Some("key")
}

fn is_password(key: &str) -> bool {
    let lower = key.to_lowercase();
    lower.contains("password") || lower == "pass"
}

#[cfg(test)]
mod tests {
    use super::{super::*, *};

    fn said(key: Key, value: &str) -> Vec<String> {
        let limits = Policy::built_in().limits;
        let values = BTreeMap::from([(key, value)]);
        let asked = Parser { values, place: Place::Annotations, limits: &limits, findings: Vec::new() }.all();
        asked.findings.into_iter().map(|finding| format!("{}: {}", finding.severity, finding.message)).collect()
    }

    #[test]
    fn keys_in_each_others_place_are_warned_about() {
        let all = [
            (Key::ClientSecret, "x:tls.key,tls.crt"),
            (Key::ClientSecret, "x:client-key.pem,client.pem"),
            (Key::UsernameSecret, "x:password,username"),
            (Key::CaSecret, "x:ca.key"),
        ];
        insta::assert_snapshot!(all.map(|(key, value)| said(key, value).join("\n")).join("\n"));
    }

    #[test]
    fn keys_of_any_other_name_are_not() {
        for (key, value) in [
            (Key::ClientSecret, "x:tls.crt,tls.key"),
            (Key::ClientSecret, "x:a,b"),
            (Key::ClientSecret, "x:a.key,b.key"),
            (Key::ClientSecret, "x:keycert,private"),
            (Key::UsernameSecret, "x:username,password"),
            (Key::UsernameSecret, "x:user=root,etcd-root-password"),
            (Key::UsernameSecret, "x:a,b"),
            (Key::CaSecret, "x:ca.crt"),
            (Key::CaSecret, "x"),
        ] {
            assert_eq!(said(key, value), [] as [&str; 0], "{value}");
        }
    }
}
