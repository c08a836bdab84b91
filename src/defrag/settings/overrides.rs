//! The settings that replace facts which cannot be read: names, ports, URLs, the quota, Secrets.

use super::{
    super::{
        dns::{is_label, is_object_name, is_subdomain},
        etcd::{CaSecret, ClientSecret, MAX_MEMBERS, Overrides, UserName, UsernameSecret, reaches_only_itself},
        finding::{Code, quoted},
        keys::Key,
        quantity,
    },
    Parser,
};

impl Parser<'_> {
    pub(super) fn overrides(&mut self) -> Overrides {
        Overrides {
            service: self.text(
                Key::Service,
                "etcd-headless",
                "a Service's name has lower-case letters, digits and hyphens, at most 63 characters, and starts with a letter",
                |value| is_label(value) && value.starts_with(|c: char| c.is_ascii_lowercase()),
            ),
            client_port: self.port(),
            cluster_domain: self.text(
                Key::ClusterDomain,
                "cluster.local",
                "a domain is made of lower-case labels with dots between them and none at its ends",
                is_subdomain,
            ),
            endpoints: self.endpoints(),
            quota: self.quota(),
            ca_secret: self.ca_secret(),
            client_secret: self.client_secret(),
            username_secret: self.username_secret(),
            locked: self.limits.locked.clone(),
        }
    }

    fn text(&mut self, key: Key, example: &str, form: &str, valid: fn(&str) -> bool) -> Option<String> {
        let value = self.take(key)?;
        if valid(value) {
            return Some(value.to_owned());
        }
        // Of Services only one is right.
        let write = if key == Key::Service {
            "Write the name in spec.serviceName".to_owned()
        } else {
            format!("Write a value such as \"{example}\"")
        };
        self.refuse(
            Code::ValueInvalid,
            key,
            &format!("is not of a form such as {example}"),
            format!(
                "{} cannot be looked up: {form}. {write}, or remove the {}: it is then read from the StatefulSet.",
                quoted(value),
                self.place.noun()
            ),
        );
        None
    }

    fn port(&mut self) -> Option<u16> {
        let value = self.take(Key::ClientPort)?;
        if let Ok(port @ 1..) = value.parse::<u16>()
            && value.starts_with(|c: char| c.is_ascii_digit())
        {
            return Some(port);
        }
        self.refuse(
            Code::ValueInvalid,
            Key::ClientPort,
            "is not a port from 1 to 65535",
            format!("{} is not a port: a port is a number from 1 to 65535. Write a value such as \"2379\", or remove the {}: the port is then read from the StatefulSet.", quoted(value), self.place.noun()),
        );
        None
    }

    fn endpoints(&mut self) -> Option<Vec<String>> {
        let value = self.take(Key::Endpoints)?;
        let count = value.split(',').count();
        let urls: Vec<&str> = value.split(',').map(str::trim).take(MAX_MEMBERS as usize).collect();
        // No list is looked through that is longer than any can be.
        let problem = (count > urls.len())
            .then(|| format!("{count} URLs are more than the {MAX_MEMBERS} members that a cluster may have"))
            .or_else(|| {
                urls.iter().find_map(|url| url_problem(url).map(|problem| format!("{} {problem}", quoted(url))))
            })
            .or_else(|| {
                let own = urls.iter().find(|url| reaches_only_itself(url))?;
                Some(format!(
                    "{} is the address of the client itself, so the pod of a run would reach itself",
                    quoted(own)
                ))
            })
            .or_else(|| {
                let schemes: Vec<&str> = urls.iter().filter_map(|url| url.split("://").next()).collect();
                (!schemes.iter().all(|scheme| Some(scheme) == schemes.first()))
                    .then(|| "http and https are mixed".to_owned())
            })
            .or_else(|| {
                let twice =
                    urls.iter().enumerate().find(|(index, url)| urls.iter().take(*index).any(|one| one == *url));
                twice.map(|(_, url)| {
                    format!("{} is listed twice, so that member would be defragmented twice", quoted(url))
                })
            });
        let Some(problem) = problem else { return Some(urls.into_iter().map(ToOwned::to_owned).collect()) };
        self.refuse(
            Code::ValueInvalid,
            Key::Endpoints,
            "is not a list of client URLs",
            format!("{problem}. Write one client URL for each member, with commas between them, each of the form https://<pod>.<service>.<namespace>.svc:2379."),
        );
        None
    }

    fn quota(&mut self) -> Option<u64> {
        let value = self.take(Key::Quota)?;
        let found = match quantity::parse(value) {
            Ok(0) => format!("{} is not a quota", quoted(value)),
            Ok(bytes) if i64::try_from(bytes).is_err() => {
                format!("{} is more than the engine can count", quoted(value))
            }
            Ok(bytes) => return Some(bytes),
            Err(error) => format!("{} {error}", quoted(value)),
        };
        self.refuse(
            Code::QuotaInvalid,
            Key::Quota,
            "is not a size such as 8Gi",
            format!("{found}: the rule is evaluated with the quota, so a wrong one fires too early or never. Write the value that etcd is started with, in bytes or as a quantity (8589934592, 8Gi)."),
        );
        None
    }

    fn ca_secret(&mut self) -> Option<CaSecret> {
        let (name, keys) = self.secret(Key::CaSecret, "etcd-certs:ca.crt", 1, false)?;
        let key = keys.into_iter().next();
        self.warn_of_private_authority(key.as_deref().unwrap_or_default());
        Some(CaSecret { name, key })
    }

    fn client_secret(&mut self) -> Option<ClientSecret> {
        let (name, keys) = self.secret(Key::ClientSecret, "etcd-client-tls:tls.crt,tls.key", 2, false)?;
        let keys = pair(keys);
        if let Some((cert, key)) = &keys {
            self.warn_of_swapped_pair((cert, key));
        }
        Some(ClientSecret { name, keys })
    }

    fn username_secret(&mut self) -> Option<UsernameSecret> {
        let (name, keys) = self.secret(Key::UsernameSecret, "etcd-root:username,password", 2, true)?;
        if let [user, password] = keys.as_slice() {
            self.warn_of_swapped_login((user, password));
        }
        pair(keys).map(|(user, password_key)| UsernameSecret { name, user: user.into(), password_key })
    }

    /// `name` or `name:key[,key]` with exactly `count` keys.
    fn secret(&mut self, key: Key, example: &str, count: usize, keys_required: bool) -> Option<(String, Vec<String>)> {
        let value = self.take(key)?;
        let (name, keys) = match value.split_once(':') {
            Some((name, keys)) => (name, keys.split(',').map(ToOwned::to_owned).collect()),
            None => (value, Vec::new()),
        };
        let problem = if !is_object_name(name) {
            Some(format!("{} is not the name of a Secret", quoted(name)))
        } else if (keys.is_empty() && keys_required) || (!keys.is_empty() && keys.len() != count) {
            let wanted = if count == 1 { "one key" } else { "two keys with a comma between them" };
            Some(format!("{} names {} of its keys where {wanted} is wanted", quoted(value), keys.len()))
        } else if let [first, second] = keys.as_slice()
            && first == second
        {
            Some(format!("{} names the key {} twice, and one key holds one of the two", quoted(value), quoted(first)))
        } else {
            keys.iter().enumerate().find_map(|(index, part)| match UserName::from(part.clone()) {
                // The first of a login may be the name itself.
                UserName::Literal(user) if key == Key::UsernameSecret && index == 0 => {
                    (!is_user_name(&user)).then(|| format!("{} is not the name of a user", quoted(&user)))
                }
                _ => (!is_secret_key(part)).then(|| format!("{} is not a key of a Secret", quoted(part))),
            })
        };
        let Some(problem) = problem else { return Some((name.to_owned(), keys)) };
        let or = match key {
            Key::UsernameSecret => ", or \"etcd-root:user=root,password\" where the Secret has no user name",
            _ => "",
        };
        self.refuse(
            Code::SecretReferenceInvalid,
            key,
            &format!("is not of the form {example}"),
            format!("{problem}: the run would wait for ever for a Secret that cannot exist. Write the name, a colon and the keys, such as \"{example}\"{or}."),
        );
        None
    }
}

fn pair(keys: Vec<String>) -> Option<(String, String)> {
    let mut keys = keys.into_iter();
    keys.next().zip(keys.next())
}

/// A user of etcd whose name the engine accepts together with a password: it separates the two at a colon.
pub(crate) fn is_user_name(value: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@' | '+');
    !value.is_empty() && value.len() <= 253 && value.chars().all(allowed)
}

/// A key of a Secret (Kubernetes' own validation).
pub(crate) fn is_secret_key(value: &str) -> bool {
    !value.is_empty()
        && value.len() <= 253
        && value.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        && value != "."
        && !value.starts_with("..")
}

/// What is wrong with a client URL, if anything.
pub(crate) fn url_problem(url: &str) -> Option<&'static str> {
    let Some(rest) = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://")) else {
        return Some("does not start with https:// or http://");
    };
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.chars().all(|c| c.is_ascii_digit()) => (host, port),
        _ => return Some("does not end in a port, such as :2379"),
    };
    if !matches!(port.parse::<u16>(), Ok(1..)) {
        return Some("does not end in a port from 1 to 65535");
    }
    let bracketed = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
    let valid = match bracketed {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => is_subdomain(host),
    };
    (!valid).then_some("names no host that can be looked up")
}
