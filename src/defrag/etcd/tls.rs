//! Which Secrets let a Job talk to an etcd that speaks TLS.

use super::{
    clients::Clients,
    context::Context,
    marks::readable,
    profile::Profile,
    secrets,
    types::{Kind, ObjectKey, SecretPair, Tls},
};
use crate::defrag::{
    finding::{Code, Finding, Severity, quoted},
    keys::Key,
    statefulset::KeyToPath,
};

/// Volumes that hold a client certificate by their name, in the charts and operators that were looked at.
const CLIENT_VOLUMES: [&str; 6] = [
    "etcd-client-tls",
    "etcd-client-certs",
    "client-tls",
    "client-certs",
    "client-certificate",
    "apiserver-etcd-client-certificate",
];
const CA_KEY: &str = "ca.crt";
const CERT_KEY: &str = "tls.crt";
const KEY_KEY: &str = "tls.key";

/// A Secret with the reason to believe in it.
struct Found<T> {
    what: T,
    /// The convention that it rests on, in words; `None` where the pod template mounts exactly this.
    assumed: Option<String>,
}

impl<T> Found<T> {
    const fn mounted(what: T) -> Self {
        Self { what, assumed: None }
    }
}

pub(super) fn discover(context: &Context<'_>, findings: &mut Vec<Finding>) -> Tls {
    let clients = Clients::of(context);
    let client = client(context, &clients);
    let ca = ca(context, &clients, client.as_ref());
    Tls { ca: settle_ca(context, ca, findings), client: settle_client(context, client, findings) }
}

fn settle_ca(context: &Context<'_>, found: Option<Found<ObjectKey>>, findings: &mut Vec<Finding>) -> Option<ObjectKey> {
    if let Some(wanted) = &context.overrides.ca_secret {
        let discovered = found.map(|found| found.what).filter(|o| o.kind == Kind::Secret && o.name == wanted.name);
        let key = wanted.key.clone().or_else(|| discovered.map(|object| object.key));
        let key = key.unwrap_or_else(|| CA_KEY.to_owned());
        return Some(ObjectKey { kind: Kind::Secret, name: wanted.name.clone(), key });
    }
    let Some(found) = found else {
        findings.push(ca_unknown(context));
        return None;
    };
    if let Some(why) = &found.assumed {
        let ObjectKey { name, key, .. } = &found.what;
        findings.push(assumed(context, Key::CaSecret, "CA certificate", name, &format!("{name}:{key}"), why));
    }
    Some(found.what)
}

fn settle_client(
    context: &Context<'_>,
    found: Option<Found<SecretPair>>,
    findings: &mut Vec<Finding>,
) -> Option<SecretPair> {
    if let Some(wanted) = &context.overrides.client_secret {
        let discovered = found.map(|found| found.what).filter(|pair| pair.name == wanted.name);
        let keys = wanted.keys.clone().or_else(|| discovered.map(|pair| (pair.cert_key, pair.key_key)));
        let (cert_key, key_key) = keys.unwrap_or_else(|| (CERT_KEY.to_owned(), KEY_KEY.to_owned()));
        return Some(SecretPair { name: wanted.name.clone(), cert_key, key_key });
    }
    let asks = Asks::of(context);
    if asks == Asks::No {
        return None;
    }
    let Some(found) = found else {
        findings.push(client_unknown(context, &asks));
        return None;
    };
    if let Some(why) = &found.assumed {
        let SecretPair { name, cert_key, key_key } = &found.what;
        let value = format!("{name}:{cert_key},{key_key}");
        findings.push(assumed(context, Key::ClientSecret, "client certificate", name, &value, why));
    }
    Some(found.what)
}

/// Whether etcd refuses clients without a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Asks {
    Yes,
    No,
    /// It cannot be seen, because of this.
    Unknown(String),
}

impl Asks {
    /// A trusted CA alone makes etcd do so, whatever `--client-cert-auth` says.
    fn of(context: &Context<'_>) -> Self {
        let options = context.options();
        if options.is_on("client-cert-auth") || options.get("trusted-ca-file").is_some() {
            return Self::Yes;
        }
        if let Some(setting) = options.get("client-cert-auth").filter(|setting| setting.known().is_none()) {
            return Self::Unknown(format!("the value of {} does not stand in the pod template", setting.origin));
        }
        if let Some(place) = options.unreadable() {
            return Self::Unknown(format!("it may stand in {place}, which is not read here"));
        }
        if options.get("cert-file").is_some() || options.is_on("auto-tls") {
            return Self::No;
        }
        Self::Unknown(ends_tls(context).unwrap_or_else(|| "no certificate of it is in view".to_owned()))
    }
}

/// That something in front of etcd ends TLS: etcd itself listens without.
fn ends_tls(context: &Context<'_>) -> Option<String> {
    let listen = context.options().get("listen-client-urls")?;
    let plain = listen.value.split(',').all(|url| url.trim().starts_with("http://"));
    let without = context.options().get("cert-file").is_none() && !context.options().is_on("auto-tls");
    (plain && without).then(|| {
        format!(
            "etcd itself listens without TLS ({} {}), so something in front of it ends that",
            listen.origin,
            quoted(&readable(&listen.value))
        )
    })
}

/// The certificate of the CA that signed the server certificates. `--trusted-ca-file` verifies clients, so it is that one only
/// where something shows that one authority serves both.
fn ca(context: &Context<'_>, clients: &Clients<'_>, client: Option<&Found<SecretPair>>) -> Option<Found<ObjectKey>> {
    clients.ca(context).or_else(|| of_both(context)).map(Found::mounted).or_else(|| beside(context, client))
}

/// The file behind a flag of etcd.
fn behind(context: &Context<'_>, flag: &str) -> Option<ObjectKey> {
    context.files.object(context.container(), context.options().get(flag)?.known()?)
}

/// The authority that signs for clients, where it signs for servers too: it is kept with the server's certificate, or the
/// members show that certificate to each other and verify it with the authority of peers.
fn of_both(context: &Context<'_>) -> Option<ObjectKey> {
    let server = behind(context, "cert-file")?;
    let kept_together = |ca: &ObjectKey| ca.kind == server.kind && ca.name == server.name;
    let trusted = behind(context, "trusted-ca-file");
    if let Some(trusted) = trusted.filter(kept_together) {
        return Some(trusted);
    }
    let of_peers = behind(context, "peer-trusted-ca-file")?;
    let shown_to_peers = behind(context, "peer-cert-file").is_some_and(|peer| peer == server);
    (shown_to_peers || kept_together(&of_peers)).then_some(of_peers)
}

/// `ca.crt` next to the server's certificate, where cert-manager puts the authority that signed it.
fn beside(context: &Context<'_>, client: Option<&Found<SecretPair>>) -> Option<Found<ObjectKey>> {
    let of = |name: String| ObjectKey { kind: Kind::Secret, name, key: CA_KEY.to_owned() };
    let why = || Some(format!("a certificate's Secret usually holds its CA as {CA_KEY}"));
    if context.options().get("cert-file").is_none() {
        return client.map(|found| Found { what: of(found.what.name.clone()), assumed: why() });
    }
    let server = behind(context, "cert-file").filter(|object| object.kind == Kind::Secret)?;
    let what = of(server.name);
    if context.files.lists(&what) {
        return Some(Found::mounted(what));
    }
    let one_authority = context.options().get("trusted-ca-file").is_none();
    (one_authority || server.key == CERT_KEY).then(|| Found { what, assumed: why() })
}

/// A certificate that etcd accepts from a client.
fn client(context: &Context<'_>, clients: &Clients<'_>) -> Option<Found<SecretPair>> {
    clients
        .pair(context)
        // The chart's own client tools authenticate with the certificate that etcd serves.
        .or_else(|| if context.profile == Profile::Bitnami { own_pair(context) } else { None })
        .map(Found::mounted)
        .or_else(|| client_volume(context))
        .or_else(|| client_by_convention(context))
}

/// The certificate that etcd serves.
fn own_pair(context: &Context<'_>) -> Option<SecretPair> {
    let path = |flag: &str| context.options().get(flag)?.known();
    context.files.pair(context.container(), path("cert-file")?, path("key-file")?)
}

/// The volume whose name says that it holds a client certificate.
fn client_volume(context: &Context<'_>) -> Option<Found<SecretPair>> {
    let volumes = &context.sts.spec.template.spec.volumes;
    let named = CLIENT_VOLUMES.iter().find_map(|name| volumes.iter().find(|volume| volume.name == *name))?;
    let secret = named.secret.as_ref().filter(|secret| !secret.secret_name.is_empty())?;
    let (cert_key, key_key, sure) = if secret.items.is_empty() {
        let (cert, key) = names_of_files(context, &secret.secret_name);
        (cert, key, false)
    } else {
        let (cert, key) = listed(&secret.items)?;
        (cert.to_owned(), key.to_owned(), true)
    };
    let why = format!("the volume {} is named like one, and its keys are not listed", named.name);
    let what = SecretPair { name: secret.secret_name.clone(), cert_key, key_key };
    Some(Found { what, assumed: (!sure).then_some(why) })
}

/// How certificate and key of a client are called whose Secret lists no keys: as those that etcd serves from the same Secret,
/// or as those from any other where that is no name of a server.
fn names_of_files(context: &Context<'_>, secret: &str) -> (String, String) {
    let usual = || (CERT_KEY.to_owned(), KEY_KEY.to_owned());
    let Some(SecretPair { name, cert_key, key_key }) = own_pair(context) else { return usual() };
    let of_a_server = ["server", "peer", "etcd"].iter().any(|word| cert_key.contains(word));
    if name == secret || !of_a_server { (cert_key, key_key) } else { usual() }
}

/// The certificate and the private key among a volume's items.
fn listed(items: &[KeyToPath]) -> Option<(&str, &str)> {
    // Files of etcd are called tls.key, server-key.pem and the like, in lower case.
    let is_key = |item: &&KeyToPath| {
        matches!(item.path.rsplit(['.', '-', '/']).next(), Some("key")) || item.path.ends_with("key.pem")
    };
    let is_ca = |item: &&KeyToPath| item.path.rsplit('/').next().is_some_and(|name| name.starts_with("ca"));
    let key = items.iter().find(is_key)?;
    let cert = items.iter().find(|item| !is_key(item) && !is_ca(item) && item.key != key.key)?;
    Some((&cert.key, &key.key))
}

/// A Secret that a chart creates but does not mount, or of whose keys it mounts one that no flag names.
fn client_by_convention(context: &Context<'_>) -> Option<Found<SecretPair>> {
    let project = context.profile.project();
    let unmounted = format!("{project} creates it under this name and mounts it nowhere");
    let usual = |name: String| SecretPair { name, cert_key: CERT_KEY.to_owned(), key_key: KEY_KEY.to_owned() };
    let secret_of_ca = || behind(context, "trusted-ca-file").filter(|object| object.kind == Kind::Secret);
    let (what, why) = match context.profile {
        Profile::KamajiEtcd => {
            let ca = secret_of_ca()?.name;
            let name = match ca.strip_suffix("-server-certs") {
                Some(release) => format!("{release}-client-certs"),
                None => format!("{}-root-client-certs", ca.strip_suffix("-certs")?),
            };
            (usual(name), unmounted)
        }
        Profile::Kamaji => (usual("root-client-certs".to_owned()), unmounted),
        Profile::EtcdOperator => (usual(format!("{}-client-tls", context.sts.name())), unmounted),
        Profile::Vcluster => {
            let pair = SecretPair {
                name: secret_of_ca()?.name,
                cert_key: "apiserver-etcd-client.crt".to_owned(),
                key_key: "apiserver-etcd-client.key".to_owned(),
            };
            (pair, format!("{project} keeps the certificate of its API server there, beside that of etcd"))
        }
        _ => return None,
    };
    Some(Found { what, assumed: Some(why) })
}

fn assumed(context: &Context<'_>, key: Key, what: &str, name: &str, value: &str, why: &str) -> Finding {
    let annotation = key.annotation();
    Finding::new(
        Code::TlsSecretAssumed,
        key.field(),
        format!("{what} assumed to be in Secret {name}"),
        format!(
            "The {what} is taken from the Secret {name} by convention: {why}. Runs fail if that is wrong. To confirm \
             it, write {annotation}: {value}, or name another Secret there.{}",
            context.overrides.note(&[key])
        ),
    )
}

fn ca_unknown(context: &Context<'_>) -> Finding {
    let annotation = Key::CaSecret.annotation();
    let set = context.overrides.brief(Key::CaSecret);
    let options = context.options();
    let self_signed = options.is_on("auto-tls") && options.get("cert-file").is_none();
    let (brief, why) = if self_signed {
        let why = "--auto-tls makes every member sign its own certificate, so no CA exists by which a client could \
                   verify it. Give etcd a certificate (--cert-file, --key-file) from a Secret, then set";
        ("auto-tls signs each member's own certificate, no client can verify it".to_owned(), why.to_owned())
    } else if let Some(trusted) = behind(context, "trusted-ca-file") {
        let ObjectKey { kind, name, key } = trusted;
        let why = format!(
            "--trusted-ca-file ({kind:?} {name}, key {key}) verifies clients, and nothing shows that it signed the \
             certificate of the server, too. If it did, name it; else set"
        );
        (format!("the CA of the servers was not found; {set}"), why)
    } else if let Some(ends) = ends_tls(context) {
        (format!("TLS is ended in front of etcd and its CA was not found; {set}"), format!("{ends}. Set"))
    } else {
        let looked = "ETCDCTL_CACERT, --trusted-ca-file and the Secret of --cert-file";
        let why = format!("no mounted Secret or ConfigMap could be found by {looked}. Set");
        (format!("etcd speaks TLS and its CA was not found; {set}"), why)
    };
    Finding::new(
        Code::TlsSecretUnknown,
        Key::CaSecret.field(),
        brief,
        format!(
            "This etcd is reached by TLS, but the CA certificate that verifies its members is not known: {why} {annotation} \
             to the Secret that holds it, such as {}-ca:ca.crt (the key may be left out if it is ca.crt).{}{}",
            context.sts.name(),
            secrets::in_words(context),
            context.overrides.note(&[Key::CaSecret])
        ),
    )
}

fn client_unknown(context: &Context<'_>, asks: &Asks) -> Finding {
    let annotation = Key::ClientSecret.annotation();
    let set = context.overrides.brief(Key::ClientSecret);
    let example = format!(
        "to the Secret that holds one which etcd trusts, such as {}-client-certs:tls.crt,tls.key (the keys may be left out if \
         they are tls.crt and tls.key).{}{}",
        context.sts.name(),
        secrets::in_words(context),
        context.overrides.note(&[Key::ClientSecret])
    );
    let (brief, message, severity) = match asks {
        Asks::Unknown(why) => (
            format!("it may ask clients for a certificate; if so, {set}"),
            format!(
                "Whether this etcd accepts only clients with a certificate cannot be seen: {why}. The runs show none. If it \
                 asks for one, each run fails: then set {annotation} {example}"
            ),
            Severity::Warn,
        ),
        Asks::Yes | Asks::No => (
            format!("etcd asks clients for a certificate; {set}"),
            format!(
                "This etcd accepts only clients with a certificate, and the pod template mounts none that is known to be a \
                 client's; none is guessed. Set {annotation} {example}"
            ),
            Severity::Deny,
        ),
    };
    Finding::new(Code::TlsSecretUnknown, Key::ClientSecret.field(), brief, message).with_severity(severity)
}
