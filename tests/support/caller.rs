//! An API server that shows webhooks who it is.

use std::{fs, path::Path};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use serde_json::json;

/// The name in its certificate.
pub const CLIENT: &str = "kube-apiserver-webhook-client";

/// A CA for clients, written to `dir/NAME.crt`.
pub fn authority(dir: &Path, name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    fs::write(dir.join(format!("{name}.crt")), ca.pem()).unwrap();
    ca
}

/// A client's certificate and key as `dir/NAME.crt` and `dir/NAME.key`.
pub fn client(dir: &Path, ca: &CertifiedIssuer<'static, KeyPair>, name: &str) {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, ca).unwrap();
    fs::write(dir.join(format!("{name}.crt")), certificate.pem()).unwrap();
    fs::write(dir.join(format!("{name}.key")), key.serialize_pem()).unwrap();
}

/// The file for `--admission-control-config-file`: webhooks at `host` are shown the certificate, others none.
pub fn admission_configuration(dir: &Path, host: &str) -> String {
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config",
        "users": [{"name": host, "user": {
            "client-certificate": dir.join(format!("{CLIENT}.crt")), "client-key": dir.join(format!("{CLIENT}.key")),
        }}],
    });
    fs::write(dir.join("kubeconfig"), kubeconfig.to_string()).unwrap();
    let plugin = |name: &str| {
        json!({"name": name, "configuration": {
            "apiVersion": "apiserver.config.k8s.io/v1", "kind": "WebhookAdmissionConfiguration",
            "kubeConfigFile": dir.join("kubeconfig"),
        }})
    };
    let configuration = json!({
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration",
        "plugins": [plugin("ValidatingAdmissionWebhook"), plugin("MutatingAdmissionWebhook")],
    });
    let path = dir.join("admission.yaml");
    fs::write(&path, configuration.to_string()).unwrap();
    path.to_str().unwrap().to_owned()
}
