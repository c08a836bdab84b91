//! Charts and operators recognised by what only they write.

use super::{
    context::{Context, Reading},
    options::Options,
    profile::Profile,
    setting::Setting,
    targets::{Target, Targets},
    types::ServesApiServer,
};
use crate::defrag::{
    duration,
    finding::quoted,
    statefulset::{Container, StatefulSet},
};

/// The profile that the evidence is for.
pub(super) fn profile(sts: &StatefulSet, container: &Container, options: &Options) -> Profile {
    let evidence = Evidence { sts, container, options };
    if evidence.option("initial-cluster-token", "kamaji") || evidence.kamaji_certificates() {
        if evidence.is_kamajis_own() { Profile::Kamaji } else { Profile::KamajiEtcd }
    } else if evidence.option("cert-file", "/run/config/pki/etcd-server.crt") {
        Profile::Vcluster
    } else if options.env("ETCD_ON_K8S").is_some() || evidence.mounts("/bitnami/etcd") {
        Profile::Bitnami
    } else if container.args.first().is_some_and(|word| word == "start-etcd") {
        Profile::EtcdDruid
    } else if evidence.environment_from("-cluster-state") {
        Profile::Cozystack
    } else if evidence.environment_from("-state") {
        Profile::EtcdOperator
    } else if evidence.is_found_as_hypershifts() && evidence.mounts_below("/etc/etcd/tls") {
        Profile::HyperShift
    } else if evidence.mounts("/var/lib/k0s/pki/etcd") {
        Profile::K0smotron
    } else if evidence.volume("apiserver-etcd-client-certificate") {
        Profile::Kubermatic
    } else if ["URI_SCHEME", "SERVICE_NAME", "K8S_NAMESPACE"].iter().all(|name| options.env(name).is_some()) {
        Profile::EtcdExample
    } else {
        Profile::Generic
    }
}

/// Where kubeadm keeps the certificates of a control plane, and those of its etcd, which others take over with its manifest.
const PKI: &str = "/etc/kubernetes/pki";
const PKI_OF_ETCD: &str = "/etc/kubernetes/pki/etcd";

/// What shows that the etcd serves a kube-apiserver.
pub(super) fn serves_apiserver(context: &Context<'_>) -> Option<ServesApiServer> {
    let Context { sts, profile, .. } = *context;
    let (container, options) = (context.container(), context.options());
    let evidence = Evidence { sts, container, options };
    let containers = || std::iter::once(container).chain(context.sidecars.iter().map(|sidecar| sidecar.container));
    let (shown, is_assumed) = if profile.serves_apiserver() {
        (format!("it is {}'s", profile.project()), false)
    } else if options.env("KARMADA_ETCD_NAME").is_some()
        || evidence.mounts_below("/etc/karmada/pki")
        || is_of_karmadas_chart(options)
    {
        ("it is karmada's".to_owned(), false)
    } else if is_of_kcp(options) {
        ("it is kcp's".to_owned(), false)
    } else if containers().any(|one| mounts_below(one, PKI) && !mounts_below(one, PKI_OF_ETCD)) {
        (format!("it mounts {PKI}"), false)
    } else if evidence.mounts_pair_of_apiserver() {
        ("it mounts the API server's client pair".to_owned(), false)
    } else if let Some(server) = apiserver_beside(context) {
        (format!("the container {} is one", quoted(server)), false)
    } else if containers().any(|one| mounts_below(one, PKI_OF_ETCD)) {
        (format!("it mounts {PKI_OF_ETCD}, as the etcd of a control plane does"), true)
    } else if is_of_kubernetes(&container.image) {
        ("its image is the one that Kubernetes builds for its control planes".to_owned(), true)
    } else {
        return None;
    };
    Some(ServesApiServer { evidence: shown, is_assumed })
}

/// The container beside it that is an API server which keeps its objects in this etcd, and compacts it.
fn apiserver_beside<'a>(context: &Context<'a>) -> Option<&'a str> {
    let keeps = |sidecar: &&Reading<'_>| sidecar.options.get("etcd-servers").is_some();
    let mut beside = context.sidecars.iter().filter(keeps).peekable();
    beside.peek()?;
    let targets = Targets::of(context);
    let server = beside.find(|server| {
        let interval = server.options.get("etcd-compaction-interval").and_then(Setting::known);
        let never = interval.is_some_and(|text| duration::parse(text).is_ok_and(|nanoseconds| nanoseconds == 0));
        targets.of_options(server) == Target::Here && !never
    })?;
    Some(&server.container.name)
}

/// Whether the certificates are where kcp's chart mounts them.
pub(super) fn is_of_kcp(options: &Options) -> bool {
    has(options, "trusted-ca-file", "/etc/etcd/tls/client-ca/tls.crt")
        && has(options, "cert-file", "/etc/etcd/tls/server/tls.crt")
}

/// Whether the certificate is where karmada's chart mounts it, whose API server shows that one as well.
pub(super) fn is_of_karmadas_chart(options: &Options) -> bool {
    has(options, "cert-file", "/etc/kubernetes/pki/etcd/karmada.crt")
}

fn has(options: &Options, flag: &str, value: &str) -> bool {
    options.get(flag).is_some_and(|setting| setting.value == value)
}

/// Whether an image is etcd alone, as its own project and Kubernetes build it: by its registry, or on a mirror by its tag.
pub(super) fn is_of_etcd(image: &str) -> bool {
    let untagged = image.split('@').next().unwrap_or_default();
    let (folder, last) = untagged.rsplit_once('/').unwrap_or(("", untagged));
    let (name, tag) = last.split_once(':').unwrap_or((last, ""));
    let version = tag.strip_prefix('v').is_some_and(|version| version.starts_with(|c: char| c.is_ascii_digit()));
    let own = || folder.split('/').any(|part| matches!(part, "coreos" | "etcd-development"));
    name == "etcd" && (version || own()) || is_of_kubernetes(image)
}

/// Whether an image is the etcd that Kubernetes builds for its control planes: by its registry, or on a mirror by its tag, which
/// has the number of the build behind a dash.
fn is_of_kubernetes(image: &str) -> bool {
    let untagged = image.split('@').next().unwrap_or_default();
    let (folder, last) = untagged.rsplit_once('/').unwrap_or(("", untagged));
    let (name, tag) = last.split_once(':').unwrap_or((last, ""));
    let numbers = |text: &str, count: usize| {
        text.split('.').count() == count
            && text.split('.').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let built = tag.split_once('-').is_some_and(|(version, build)| numbers(version, 3) && numbers(build, 1));
    let folders = ["registry.k8s.io", "k8s.gcr.io", "google_containers", "google-containers"];
    name == "etcd" && (built || folder.split('/').any(|part| folders.contains(&part)))
}

fn mounts_below(container: &Container, path: &str) -> bool {
    let behind = |mount: &str| mount.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    container.volume_mounts.iter().any(|mount| behind(&mount.mount_path))
}

struct Evidence<'a> {
    sts: &'a StatefulSet,
    container: &'a Container,
    options: &'a Options,
}

impl Evidence<'_> {
    fn option(&self, flag: &str, value: &str) -> bool {
        has(self.options, flag, value)
    }

    /// The chart's own file names, for a release that changed the cluster token.
    fn kamaji_certificates(&self) -> bool {
        self.volume("certs")
            && self.option("cert-file", "/etc/etcd/pki/server.pem")
            && self.option("peer-cert-file", "/etc/etcd/pki/peer.pem")
    }

    /// Kamaji's own etcd is called etcd whatever the release is, and its CA etcd-certs. The other chart of the project can be
    /// given the same names, and has its own in its selector. That never changes; a label of the StatefulSet itself, which
    /// anybody may change who may write its metadata or its status, would choose a Secret as an annotation does, and unseen.
    fn is_kamajis_own(&self) -> bool {
        let volumes = &self.sts.spec.template.spec.volumes;
        let ca = volumes.iter().find(|volume| volume.name == "certs").and_then(|volume| volume.secret.as_ref());
        let selected = self.sts.spec.selector.match_labels.get("app.kubernetes.io/name");
        self.sts.name() == "etcd"
            && ca.is_some_and(|secret| secret.secret_name == "etcd-certs")
            && selected.is_none_or(|name| name != "kamaji-etcd")
    }

    /// `HyperShift`'s headless Service; that of a shard has the name of the shard behind it.
    fn is_found_as_hypershifts(&self) -> bool {
        let rest = self.sts.spec.service_name.strip_prefix("etcd-discovery");
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    }

    fn mounts(&self, path: &str) -> bool {
        self.container.volume_mounts.iter().any(|mount| mount.mount_path.trim_end_matches('/') == path)
    }

    fn mounts_below(&self, path: &str) -> bool {
        mounts_below(self.container, path)
    }

    /// Whether a volume has the pair with which kubeadm lets the API server in: by the name of the Secret, or by a key of it.
    fn mounts_pair_of_apiserver(&self) -> bool {
        const PAIR: &str = "apiserver-etcd-client";
        self.sts.spec.template.spec.volumes.iter().any(|volume| {
            let secret = volume.secret.iter().any(|secret| {
                secret.secret_name.contains(PAIR) || secret.items.iter().any(|item| item.key.contains(PAIR))
            });
            let sources = volume.projected.iter().flat_map(|projected| &projected.sources);
            secret
                || sources
                    .filter_map(|source| source.secret.as_ref())
                    .any(|secret| secret.name.contains(PAIR) || secret.items.iter().any(|item| item.key.contains(PAIR)))
        })
    }

    fn volume(&self, name: &str) -> bool {
        self.sts.spec.template.spec.volumes.iter().any(|volume| volume.name == name)
    }

    /// Whether the only foreign environment is a ConfigMap named after the StatefulSet.
    fn environment_from(&self, suffix: &str) -> bool {
        match self.container.env_from.as_slice() {
            [only] => only.config_map_ref.as_ref().is_some_and(|r| r.name == format!("{}{suffix}", self.sts.name())),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_of_etcd_alone_are_known() {
        for (image, expected) in [
            ("quay.io/coreos/etcd:v3.6.5", true),
            ("quay.io/coreos/etcd@sha256:01", true),
            ("gcr.io/etcd-development/etcd:v3.7.1", true),
            ("mirror.example:5000/x/etcd:v3.6.5", true),
            ("registry.k8s.io/etcd:3.6.8-0", true),
            ("docker.io/bitnami/etcd:3.6.4", false),
            ("mirror.example/x/etcd:3.6.4", false),
            ("mirror.example/etcd-tools:v3.6.4", false),
            ("", false),
        ] {
            assert_eq!(is_of_etcd(image), expected, "{image}");
        }
    }

    #[test]
    fn the_image_of_kubernetes_is_known_on_a_mirror_too() {
        for (image, expected) in [
            ("registry.k8s.io/etcd:3.6.8-0", true),
            ("k8s.gcr.io/etcd:3.5.3-0", true),
            ("mirror.example/registry.k8s.io/etcd:v3.5.3", true),
            ("registry.aliyuncs.com/google_containers/etcd:3.5.9-0", true),
            ("mirror.example:5000/x/etcd:3.5.21-0@sha256:01", true),
            ("registry.k8s.io/etcd@sha256:01", true),
            ("quay.io/coreos/etcd:v3.6.5", false),
            ("gcr.io/etcd-development/etcd:v3.6.0-rc.2", false),
            ("docker.io/bitnami/etcd:3.5.17-debian-12-r1", false),
            ("docker.io/bitnami/etcd:3.6.4", false),
            ("registry.k8s.io/etcd-manager:3.5.1-0", false),
            ("etcd", false),
            ("", false),
        ] {
            assert_eq!(is_of_kubernetes(image), expected, "{image}");
        }
    }
}
