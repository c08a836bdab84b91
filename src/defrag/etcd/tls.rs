//! Which Secrets let a Job talk to an etcd that speaks TLS.

use super::{
    clients::{Clients, Used},
    context::Context,
    marks::readable,
    profile::Profile,
    recognise, secrets,
    targets::{Target, Targets},
    types::{Kind, ObjectKey, SecretPair, Tls},
};
use crate::defrag::{
    finding::{Code, Finding, Severity, quoted},
    keys::Key,
    statefulset::{KeyToPath, Volume},
};

/// Volumes that hold a client certificate by their name, in the charts and operators that were examined.
const CLIENT_VOLUMES: [&str; 7] = [
    "etcd-client-tls",
    "etcd-client-certs",
    "etcd-client-cert",
    "client-tls",
    "client-certs",
    "client-certificate",
    "apiserver-etcd-client-certificate",
];
const CA_KEY: &str = "ca.crt";
const CERT_KEY: &str = "tls.crt";
const KEY_KEY: &str = "tls.key";

/// What talks to this etcd.
const OURS: [Target; 2] = [Target::Here, Target::Likely];
/// What the names of authorities have in them, and those of authorities for others than servers.
const OF_AUTHORITIES: [&str; 3] = ["ca", "cacert", "rootca"];
const OF_OTHERS: [&str; 4] = ["client", "clients", "peer", "peers"];

/// A Secret with the reason to believe in it.
struct Found<T> {
    what: T,
    /// What it rests on, in words; `None` where the pod template mounts exactly this.
    assumed: Option<String>,
    /// Whether only probes present it.
    of_probes: bool,
}

impl<T> Found<T> {
    const fn mounted(what: T) -> Self {
        Self { what, assumed: None, of_probes: false }
    }

    /// Supplied by a convention.
    fn by_convention(what: T, why: &str) -> Self {
        Self { what, assumed: Some(format!("by convention: {why}")), of_probes: false }
    }

    fn used(Used { what, doubtful, of_probes }: Used<T>) -> Self {
        let why = |container: String| {
            let container = quoted(&container);
            format!("since the container {container} uses it, and it is not known whether that talks to this etcd")
        };
        Self { what, assumed: doubtful.map(why), of_probes }
    }
}

pub(super) fn discover(context: &Context<'_>, targets: &Targets<'_, '_>, findings: &mut Vec<Finding>) -> Tls {
    let clients = Clients::of(context, targets);
    let client = client(context, &clients);
    let ca = ca(context, &clients, client.as_ref());
    Tls { ca: settle_ca(context, ca, findings), client: settle_client(context, client, findings) }
}

fn settle_ca(context: &Context<'_>, found: Option<Found<ObjectKey>>, findings: &mut Vec<Finding>) -> Option<ObjectKey> {
    if let Some(wanted) = &context.overrides.ca_secret {
        // No authority that anybody names verifies certificates that members sign themselves.
        if signs_itself(context) {
            findings.push(ca_unknown(context));
        }
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
        let ObjectKey { kind, name, key } = &found.what;
        let value = (*kind == Kind::Secret).then(|| format!("{name}:{key}"));
        let object = format!("{kind:?} {name}");
        findings.push(assumed(context, Key::CaSecret, "CA certificate", &object, value.as_deref(), why));
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
        let object = format!("Secret {name}");
        findings.push(assumed(context, Key::ClientSecret, "client certificate", &object, Some(&value), why));
    } else if found.of_probes && may_know_users(context) {
        findings.push(of_a_probe(context, &found.what));
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
            return Self::Unknown(format!("the value of {} is not in the pod template", setting.origin));
        }
        if let Some(place) = options.unreadable() {
            return Self::Unknown(format!("it may be set in {place}, which is not read here"));
        }
        if options.get("cert-file").is_some() || options.is_on("auto-tls") {
            return Self::No;
        }
        Self::Unknown(ends_tls(context).unwrap_or_else(|| "no certificate of it is visible".to_owned()))
    }
}

/// Whether every member signs its own certificate.
fn signs_itself(context: &Context<'_>) -> bool {
    context.options().is_on("auto-tls") && context.options().get("cert-file").is_none()
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
    let used = |targets: &[Target]| clients.ca(context, targets).map(Found::used);
    let (sure, beside): (Option<_>, Option<_>) = match beside(context, client) {
        Some(found) if found.assumed.is_none() => (Some(found), None),
        found => (None, found),
    };
    let kept = of_both(context);
    let is_sure = kept.as_ref().is_some_and(|found| found.assumed.is_none());
    let (of_both, by_name) = if is_sure { (kept, None) } else { (None, kept) };
    used(&OURS)
        .or(of_both)
        .or(sure)
        .or_else(|| used(&[Target::Near]))
        .or(by_name)
        .or(beside)
        .or_else(|| used(&[Target::Unseen]))
}

/// The file behind a flag of etcd.
fn behind(context: &Context<'_>, flag: &str) -> Option<ObjectKey> {
    context.files.object(context.container(), context.options().get(flag)?.known()?)
}

/// The authority that signs for clients, where it signs for servers too: it is kept with the server's certificate, or the
/// members show that certificate to each other and verify it with the authority of peers. The name of one may say that it is for
/// clients or peers; then it is assumed.
fn of_both(context: &Context<'_>) -> Option<Found<ObjectKey>> {
    let server = behind(context, "cert-file")?;
    let kept_together = |ca: &ObjectKey| ca.kind == server.kind && ca.name == server.name;
    let shown_to_peers = behind(context, "peer-cert-file").is_some_and(|peer| peer == server);
    let trusted = behind(context, "trusted-ca-file").filter(kept_together);
    let of_peers = behind(context, "peer-trusted-ca-file").filter(|ca| shown_to_peers || kept_together(ca));
    if let Some(ca) = trusted.as_ref().filter(|ca| !is_for_others(&ca.key)) {
        return Some(Found::mounted(ca.clone()));
    }
    if let Some(ca) = of_peers.as_ref().filter(|ca| shown_to_peers || !is_for_others(&ca.key)) {
        return Some(Found::mounted(ca.clone()));
    }
    let what = trusted.or(of_peers)?;
    let why =
        format!("since etcd's certificate is kept there, though the key {} is named for clients or peers", what.key);
    Some(Found { what, assumed: Some(why), of_probes: false })
}

/// Whether the name of an authority says that it signs for clients or peers and not for servers.
fn is_for_others(name: &str) -> bool {
    let has = |words: &[&str]| parts(name).any(|part| words.iter().any(|word| part.eq_ignore_ascii_case(word)));
    has(&OF_OTHERS) && !has(&["server"])
}

fn parts(name: &str) -> impl Iterator<Item = &str> {
    name.split(|c: char| !c.is_ascii_alphanumeric())
}

/// The authority next to the server's certificate: what the manifest puts there, else `ca.crt`, where cert-manager puts the one
/// that signed it.
fn beside(context: &Context<'_>, client: Option<&Found<SecretPair>>) -> Option<Found<ObjectKey>> {
    let of = |name: String| ObjectKey { kind: Kind::Secret, name, key: CA_KEY.to_owned() };
    let why = format!("a certificate's Secret usually holds its CA as {CA_KEY}");
    let Some(setting) = context.options().get("cert-file") else {
        return client.map(|found| Found::by_convention(of(found.what.name.clone()), &why));
    };
    if let Some(stated) = setting.known().and_then(|path| stated_beside(context, path)) {
        return Some(Found::mounted(stated));
    }
    let server = behind(context, "cert-file").filter(|object| object.kind == Kind::Secret)?;
    let what = of(server.name);
    if context.files.lists(&what) {
        return Some(Found::mounted(what));
    }
    let one_authority = context.options().get("trusted-ca-file").is_none();
    (one_authority || server.key == CERT_KEY).then(|| Found::by_convention(what, &why))
}

/// The authority that the manifest itself puts into the folder of the server's certificate: `ca.crt`, else the only one by its
/// name. One by which etcd verifies clients or peers is none, unless it is kept with that certificate.
fn stated_beside(context: &Context<'_>, cert: &str) -> Option<ObjectKey> {
    let (files, container) = (context.files, context.container());
    let certificate = behind(context, "cert-file");
    let of_others = ["trusted-ca-file", "peer-trusted-ca-file"].map(|flag| behind(context, flag));
    let kept_together =
        |ca: &ObjectKey| certificate.as_ref().is_some_and(|own| ca.kind == own.kind && ca.name == own.name);
    let serves = |ca: &ObjectKey| kept_together(ca) || !of_others.iter().flatten().any(|other| other == ca);
    let (folder, _) = cert.rsplit_once('/')?;
    let usual = files.stated(container, &format!("{folder}/{CA_KEY}"));
    usual.filter(&serves).or_else(|| {
        let is_authority = |name: &str| {
            let has = |word: &&str| parts(name).any(|part| part.eq_ignore_ascii_case(word));
            OF_AUTHORITIES.iter().any(has) && !has(&"key") && !is_for_others(name)
        };
        let listed = files.listed_in(container, folder);
        let mut found = listed.into_iter().filter(|(name, ca)| is_authority(name) && serves(ca)).map(|(_, ca)| ca);
        found.next().filter(|_| found.next().is_none())
    })
}

/// A certificate that etcd accepts from a client.
fn client(context: &Context<'_>, clients: &Clients<'_>) -> Option<Found<SecretPair>> {
    let used = |targets: &[Target]| clients.pair(context, targets).map(Found::used);
    // The chart's own client tools authenticate with the certificate that etcd serves.
    let bitnami = || if context.profile == Profile::Bitnami { own_pair(context) } else { None };
    used(&OURS)
        .or_else(|| bitnami().map(Found::mounted))
        .or_else(|| used(&[Target::Near]))
        .or_else(|| client_volume(context))
        .or_else(|| client_by_convention(context))
        .or_else(|| used(&[Target::Unseen]))
}

/// The certificate that etcd serves.
fn own_pair(context: &Context<'_>) -> Option<SecretPair> {
    let path = |flag: &str| context.options().get(flag)?.known();
    context.files.pair(context.container(), path("cert-file")?, path("key-file")?)
}

/// The volume whose name says that it holds a client certificate. A pair that etcd serves is none, for such a name may say as well
/// that it is shown to clients.
fn client_volume(context: &Context<'_>) -> Option<Found<SecretPair>> {
    let volumes = &context.sts.spec.template.spec.volumes;
    let named = CLIENT_VOLUMES.iter().filter_map(|name| volumes.iter().find(|volume| volume.name == *name));
    let own = own_pair(context);
    named.filter_map(|volume| pair_of(context, volume)).find(|found| own.as_ref() != Some(&found.what))
}

fn pair_of(context: &Context<'_>, named: &Volume) -> Option<Found<SecretPair>> {
    let secret = named.secret.as_ref().filter(|secret| !secret.secret_name.is_empty())?;
    let pair = |cert_key, key_key| SecretPair { name: secret.secret_name.clone(), cert_key, key_key };
    if secret.items.is_empty() {
        let (cert, key) = names_of_files(context, &secret.secret_name);
        let why = format!("the volume {} is named like one, and its keys are not listed", named.name);
        return Some(Found::by_convention(pair(cert, key), &why));
    }
    let (cert, key) = listed(&secret.items)?;
    Some(Found::mounted(pair(cert.to_owned(), key.to_owned())))
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
    if recognise::is_of_kcp(context.options()) {
        let why = "kcp's chart creates it under this name and mounts it nowhere".to_owned();
        return Some(Found::by_convention(usual(format!("{}-client-cert", context.sts.name())), &why));
    }
    if recognise::is_of_karmadas_chart(context.options()) {
        let why = "karmada's API server shows the certificate that etcd serves".to_owned();
        return own_pair(context).map(|what| Found::by_convention(what, &why));
    }
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
    Some(Found::by_convention(what, &why))
}

/// Whether the certificate of a client may be that of a user with rights of its own: etcd takes the user from it where it asks
/// for one and authentication is on. A kube-apiserver works without.
fn may_know_users(context: &Context<'_>) -> bool {
    let serves = recognise::serves_apiserver(context).is_some_and(|serves| !serves.is_assumed);
    context.options().is_on("client-cert-auth") && !serves && context.overrides.username_secret.is_none()
}

/// That a probe's certificate may be that of a user who may not defragment.
fn of_a_probe(context: &Context<'_>, pair: &SecretPair) -> Finding {
    let SecretPair { name, cert_key, key_key } = pair;
    let annotation = Key::ClientSecret.annotation();
    Finding::new(
        Code::TlsSecretAssumed,
        Key::ClientSecret.field(),
        format!("client certificate taken from a probe (Secret {name}); it may not be an admin's"),
        format!(
            "The client certificate is taken from the Secret {name}, which only a probe shows to etcd. With authentication, etcd \
             lets only a user with the role root defragment, and the user of a probe, such as etcd-healthcheck, may only \
             read: then each run fails. To confirm it, write {annotation}: {name}:{cert_key},{key_key}, or name the Secret of an \
             admin there.{}",
            context.overrides.note(&[Key::ClientSecret])
        ),
    )
}

/// That something is assumed to be in an object, which the annotation confirms where it is written so.
fn assumed(context: &Context<'_>, key: Key, what: &str, object: &str, value: Option<&str>, why: &str) -> Finding {
    let annotation = key.annotation();
    let confirm = match value {
        Some(value) => format!("To confirm it, write {annotation}: {value}, or name another Secret there."),
        None => format!("If it is, name the Secret that holds it by {annotation}."),
    };
    Finding::new(
        Code::TlsSecretAssumed,
        key.field(),
        format!("{what} assumed to be in {object}"),
        format!(
            "The {what} is taken from the {object} {why}. Runs fail if that is wrong. {confirm}{}",
            context.overrides.note(&[key])
        ),
    )
}

fn ca_unknown(context: &Context<'_>) -> Finding {
    let annotation = Key::CaSecret.annotation();
    let set = context.overrides.brief(Key::CaSecret);
    let elsewhere = context.options().unreadable().filter(|_| context.options().get("cert-file").is_none());
    let mut signs = "";
    let (brief, why) = if signs_itself(context) {
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
    } else if let Some(place) = &elsewhere {
        signs = " If --auto-tls is set there, every member signs its own certificate and no CA verifies it: then give etcd a \
                 certificate (--cert-file, --key-file) from a Secret first.";
        let why = format!("--cert-file is not visible and may be set in {place}, which is not read here. Set");
        (format!("etcd speaks TLS and its CA was not found; {set}"), why)
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
             to the Secret that holds it, such as {}-ca:ca.crt (the key may be left out if it is ca.crt).{signs}{}{}",
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
            format!("it may require a client certificate; if so, {set}"),
            format!(
                "It is not known whether this etcd accepts only clients with a certificate: {why}. The runs present none. If \
                 it requires one, each run fails: then set {annotation} {example}"
            ),
            Severity::Warn,
        ),
        Asks::Yes | Asks::No => (
            format!("etcd requires a client certificate; {set}"),
            format!(
                "This etcd accepts only clients with a certificate, and the pod template mounts none that is known to be a \
                 client's; none is guessed. Set {annotation} {example}"
            ),
            Severity::Deny,
        ),
    };
    Finding::new(Code::TlsSecretUnknown, Key::ClientSecret.field(), brief, message).with_severity(severity)
}
