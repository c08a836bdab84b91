//! An etcd of one member, as small as what is special about it allows.

use harness::{Authority, Pair, certificate, etcd_image};
use serde_json::{Value, json};

/// The user of the image.
const USER: u32 = 65532;
/// Where a test's own client talks to an etcd that speaks TLS to others.
const PLAIN: &str = "http://127.0.0.1:2378";
/// The key of the Secret that holds a password and no user name.
pub(crate) const PASSWORD_KEY: &str = "etcd-root-password";

/// What is special about an etcd.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    /// The StatefulSet and its headless Service.
    pub(crate) name: &'static str,
    pub(crate) listen: &'static str,
    /// `NAMESPACE` stands for the namespace.
    pub(crate) advertise: &'static str,
    pub(crate) tls: Option<Tls>,
    /// The password of root, which etcd is given in a file.
    pub(crate) password: Option<&'static str>,
    /// Annotations of ours, without the prefix.
    pub(crate) annotations: &'static [(&'static str, &'static str)],
}

/// Certificates towards clients, who have to show one.
#[derive(Clone, Copy)]
pub(crate) struct Tls {
    /// What stands behind the pod's name in the certificate; `NAMESPACE` as above.
    pub(crate) names: &'static [&'static str],
    /// Whether those of clients are signed by another authority than those of servers.
    pub(crate) two_authorities: bool,
}

impl Shape {
    pub(crate) fn pod(&self) -> String {
        format!("{}-0", self.name)
    }

    /// The arguments of `etcdctl` and `etcd-load` in the pod.
    pub(crate) fn client(&self) -> Vec<String> {
        let url = if self.tls.is_some() { PLAIN } else { "http://127.0.0.1:2379" };
        let mut args = vec![format!("--endpoints={url}")];
        if let Some(password) = self.password {
            args.extend(["--user=root".to_owned(), format!("--password={password}")]);
        }
        args
    }

    /// Everything that it is made of, as one list.
    pub(crate) fn manifest(&self, namespace: &str, quota: u64) -> String {
        let mut items = self.secrets(namespace);
        items.push(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": self.name, "namespace": namespace},
            "spec": {
                "clusterIP": "None", "publishNotReadyAddresses": true, "selector": {"app": self.name},
                "ports": [{"name": "client", "port": 2379}],
            },
        }));
        items.push(self.statefulset(namespace, quota));
        json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
    }

    fn secrets(&self, namespace: &str) -> Vec<Value> {
        let secret = |suffix: &str, data: Value| {
            let metadata = json!({"name": format!("{}-{suffix}", self.name), "namespace": namespace});
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data})
        };
        let mut all = Vec::new();
        if let Some(password) = self.password {
            all.push(secret("login", json!({PASSWORD_KEY: password})));
        }
        let Some(tls) = self.tls else { return all };
        let servers = Authority::new("servers");
        let behind = tls.names.iter().map(|name| name.replace("NAMESPACE", namespace));
        let names: Vec<String> = behind.map(|behind| format!("{}.{behind}", self.pod())).collect();
        let Pair { cert, key } = certificate(&servers, "etcd", &names);
        all.push(secret("server", json!({"ca.crt": servers.pem(), "tls.crt": cert, "tls.key": key})));
        let clients = if tls.two_authorities {
            let clients = Authority::new("clients");
            all.push(secret("clients", json!({"ca.crt": clients.pem()})));
            clients
        } else {
            servers
        };
        let Pair { cert, key } = certificate(&clients, "defrag", &[]);
        all.push(secret("client", json!({"tls.crt": cert, "tls.key": key})));
        all
    }

    fn statefulset(&self, namespace: &str, quota: u64) -> Value {
        let mut mounts = vec![json!({"name": "data", "mountPath": "/data"})];
        let mut volumes = vec![json!({"name": "data", "emptyDir": {}})];
        let mut mount = |secret: &str, path: &str| {
            mounts.push(json!({"name": secret, "mountPath": path, "readOnly": true}));
            volumes.push(json!({"name": secret, "secret": {"secretName": format!("{}-{secret}", self.name)}}));
        };
        let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
        let mut env = vec![field("POD_NAME", "metadata.name"), field("POD_IP", "status.podIP")];
        if self.password.is_some() {
            mount("login", "/secrets");
            env.push(json!({"name": "ETCD_ROOT_PASSWORD_FILE", "value": format!("/secrets/{PASSWORD_KEY}")}));
        }
        if let Some(tls) = self.tls {
            mount("server", "/tls/server");
            if tls.two_authorities {
                mount("clients", "/tls/clients");
            }
        }
        let mut metadata = json!({"name": self.name, "namespace": namespace});
        metadata["labels"] = json!({"etcd-defrag.io/enabled": "true"});
        for (key, value) in self.annotations {
            metadata["annotations"][format!("etcd-defrag.io/{key}")] = json!(value);
        }
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata, "spec": {
            "serviceName": self.name, "replicas": 1, "selector": {"matchLabels": {"app": self.name}},
            "template": {"metadata": {"labels": {"app": self.name}}, "spec": {
                "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 5,
                "securityContext": {"runAsNonRoot": true, "fsGroup": USER, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [{
                    "name": "etcd", "image": etcd_image(), "imagePullPolicy": "IfNotPresent",
                    "command": self.command(namespace, quota), "env": env, "volumeMounts": mounts,
                    "resources": {"requests": {"cpu": "10m"}},
                    "ports": [{"name": "client", "containerPort": 2379}],
                    "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                }],
                "volumes": volumes,
            }},
        }})
    }

    fn command(&self, namespace: &str, quota: u64) -> Vec<String> {
        let (listen, advertise) = (self.listen, self.advertise.replace("NAMESPACE", namespace));
        let mut command = vec![
            "etcd".to_owned(),
            "--name=$(POD_NAME)".to_owned(),
            "--data-dir=/data".to_owned(),
            format!("--advertise-client-urls={advertise}"),
            format!("--quota-backend-bytes={quota}"),
            // A test's data need not outlive a power cut.
            "--unsafe-no-fsync".to_owned(),
        ];
        if self.password.is_some() {
            // The password counts only where something reads it; here etcd takes its path for the token of the cluster.
            command.push("--initial-cluster-token=$(ETCD_ROOT_PASSWORD_FILE)".to_owned());
        }
        let Some(tls) = self.tls else {
            command.push(format!("--listen-client-urls={listen}"));
            return command;
        };
        let authority = if tls.two_authorities { "clients" } else { "server" };
        command.extend([
            format!("--listen-client-urls={listen},{PLAIN}"),
            "--cert-file=/tls/server/tls.crt".to_owned(),
            "--key-file=/tls/server/tls.key".to_owned(),
            format!("--trusted-ca-file=/tls/{authority}/ca.crt"),
            "--client-cert-auth".to_owned(),
        ]);
        command
    }
}
