use super::*;
use crate::defrag::statefulset::{EnvFrom, EnvVar, NameRef, PodSpec};

fn read(container: &Container) -> Options {
    Options::read(container, "c", &Home::plain("ns"), &Files::of(&PodSpec::default()))
}

fn container(command: &[&str], args: &[&str]) -> Container {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    Container { command: words(command), args: words(args), ..Container::default() }
}

fn value(container: &Container, flag: &str) -> Option<(String, String)> {
    read(container).get(flag).map(|setting| (setting.value.clone(), setting.field.clone()))
}

#[expect(clippy::unnecessary_wraps, reason = "compared with an Option")]
fn found(value: &str, field: &str) -> Option<(String, String)> {
    Some((value.to_owned(), field.to_owned()))
}

#[test]
fn flags_in_all_their_forms() {
    for (command, args, expected) in [
        (vec!["etcd", "--x=1"], vec![], found("1", "c.command")),
        (vec!["etcd", "-x=1"], vec![], found("1", "c.command")),
        (vec!["etcd", "--x", "1"], vec![], found("1", "c.command")),
        (vec!["etcd"], vec!["-x", "1"], found("1", "c.args")),
        (vec!["etcd", "--x=1"], vec!["--x=2"], found("2", "c.args")),
        (vec!["etcd", "--x"], vec!["--y=2"], found("true", "c.command")),
        (vec!["etcd", "--x="], vec![], found("", "c.command")),
        (vec!["etcd", "--x=a=b"], vec![], found("a=b", "c.command")),
        (vec!["etcd", "--client-cert-auth", "--x", "1"], vec![], found("1", "c.command")),
        (vec!["tini", "--", "etcd", "--x=1"], vec![], found("1", "c.command")),
        (vec!["sh", "-c", "exec etcd --x=1"], vec![], found("1", "c.command")),
        (vec!["/bin/bash"], vec!["-ec", "etcd --x 1"], found("1", "c.args")),
        (vec!["sh", "-c", "if a; then etcd --x=1; else etcd --x=2; fi"], vec![], found("\u{E001}", "c.command")),
        (vec!["etcd"], vec!["x=1"], None),
        (vec![], vec![], None),
    ] {
        assert_eq!(value(&container(&command, &args), "x"), expected, "{command:?} {args:?}");
    }
    assert_eq!(
        value(&container(&["etcd", "--quota-backend-bytes", "-1"], &[]), "quota-backend-bytes"),
        found("-1", "c.command")
    );
}

#[test]
fn flags_beat_the_environment_and_empty_variables_are_unset() {
    let mut etcd = container(&["etcd"], &[]);
    let var =
        |value: &str| EnvVar { name: "ETCD_DATA_DIR".to_owned(), value: Some(value.to_owned()), value_from: None };
    etcd.env = vec![var("/env")];
    assert_eq!(value(&etcd, "data-dir"), found("/env", "c.env[0].value"));
    etcd.args = vec!["--data-dir=/flag".to_owned()];
    assert_eq!(value(&etcd, "data-dir"), found("/flag", "c.args"));
    etcd.args.clear();
    etcd.env = vec![var("")];
    assert_eq!(value(&etcd, "data-dir"), None);
}

#[test]
fn a_configuration_file_hides_everything() {
    let options = read(&container(&["etcd", "--config-file=/etc/e.yml", "--x=1"], &[]));
    assert_eq!(options.get("x"), None);
    assert_eq!(options.unreadable().as_deref(), Some("the configuration file \"/etc/e.yml\""));
    assert!(!read(&container(&["etcd", "--config-file="], &[])).has_config_file());
}

#[test]
fn a_volume_brings_a_configuration_file_to_where_the_image_looks_for_it() {
    let has_file = |volume: &str, mount: &str, init: &str| {
        let pod = format!(
            "{{volumes: [{{name: conf, {volume}}}], initContainers: [{init}],
            containers: [{{name: etcd, image: bitnami/etcd:3.6, volumeMounts: [{mount}]}}]}}"
        );
        let pod: PodSpec = serde_saphyr::from_str(&pod).unwrap();
        Options::read(&pod.containers[0], "c", &Home::plain("ns"), &Files::of(&pod)).has_config_file()
    };
    let folder = "{name: conf, mountPath: /opt/bitnami/etcd/conf/}";
    let file = "{name: conf, mountPath: /opt/bitnami/etcd/conf/etcd.yaml, subPath: a.yaml}";
    for (volume, mount, expected) in [
        ("configMap: {name: a}", folder, true),
        ("configMap: {name: a}", file, true),
        ("secret: {secretName: a}", file, true),
        ("configMap: {name: a, items: [{key: k, path: etcd.yaml}]}", folder, true),
        ("configMap: {name: a, items: [{key: k, path: other.yaml}]}", folder, false),
        ("projected: {sources: [{secret: {name: a}}, {configMap: {name: b}}]}", folder, true),
        ("emptyDir: {}", folder, false),
        ("emptyDir: {}", file, false),
        ("hostPath: {path: /x}", folder, true),
        ("configMap: {name: a}", "{name: conf, mountPath: /opt/bitnami/etcd/data}", false),
    ] {
        assert_eq!(has_file(volume, mount, ""), expected, "{volume} {mount}");
    }
    let sub = "{name: conf, mountPath: /opt/bitnami/etcd/conf, subPath: app}";
    let init =
        |sub_path: &str| format!("{{name: i, volumeMounts: [{{name: conf, mountPath: /c, subPath: {sub_path}}}]}}");
    assert!(has_file("emptyDir: {}", sub, &init("app")), "an init container writes there");
    assert!(!has_file("emptyDir: {}", sub, &init("tmp")));
}

#[test]
fn what_cannot_hide_a_flag_hides_none() {
    let unreadable = |env: &str, words: &str| {
        let container = format!("{{name: etcd, env: [{env}], command: [{words}]}}");
        read(&serde_saphyr::from_str(&container).unwrap()).unreadable()
    };
    let ip = "{name: A, valueFrom: {fieldRef: {fieldPath: status.podIP}}}";
    let node = "{name: A, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}";
    let number = "{name: A, valueFrom: {resourceFieldRef: {resource: limits.memory}}}";
    let secret = "{name: A, valueFrom: {secretKeyRef: {name: s, key: k}}}";
    for harmless in [ip, node, number] {
        assert_eq!(unreadable(harmless, "etcd, --pod-ip, $(A)"), None);
        assert_eq!(unreadable(harmless, "etcd, --client-cert-auth, $(A)"), None);
    }
    assert_eq!(unreadable(secret, "etcd, --name, $(A)"), None, "the value of the flag in front of it");
    assert!(unreadable(secret, "etcd, --client-cert-auth, $(A)").is_some());
    assert!(unreadable(secret, "etcd, $(A)").is_some());
}

#[test]
fn a_word_that_may_be_a_flag_hides_the_variables() {
    let find = |words: &str| {
        let env = "{name: A, valueFrom: {secretKeyRef: {name: s, key: k}}}, {name: ETCD_X, value: '1'}";
        let container = format!("{{name: etcd, env: [{env}], {words}}}");
        let options = read(&serde_saphyr::from_str(&container).unwrap());
        let setting = options.get("x").unwrap();
        (setting.value.clone().replace('\u{E001}', "?"), setting.place())
    };
    for (words, expected) in [
        ("command: [etcd, --a=1]", "1"),
        ("command: [etcd, --a, $(A)]", "1"),
        ("command: [etcd, --client-cert-auth, $(A)]", "?"),
        ("command: [etcd, $(A), --a=1]", "?"),
        ("command: [etcd, $(A), --x=2]", "2"),
        ("command: [sh, -c, 'etcd --a=$A']", "1"),
        ("command: [sh, -c, 'etcd $A --a=1']", "?"),
        ("command: [sh, -c, 'etcd $A --x=2']", "2"),
        ("command: [sh, -c, 'ETCD_X=2 etcd']", "2"),
        ("command: [sh, -c, 'ETCD_X=2 etcd $A']", "?"),
        ("command: [sh, -c, 'F=$(x y); etcd $F']", "?"),
        ("command: [sh, -c, 'if y; then F=--x=2; fi; etcd $F']", "?"),
        ("command: [sh, -c, 'if y; then F=--a=2; fi; etcd $F']", "1"),
        ("args: [$(A)]", "?"),
        ("command: [/opt/bitnami/scripts/etcd/run.sh, $(A)]", "?"),
        ("command: [/start.sh, $(A)]", "?"),
    ] {
        assert_eq!(find(words).0, expected, "{words}");
    }
    assert_eq!(
        find("command: [etcd], args: [$(A)]").1,
        "the object that a variable that may hold a flag in place of ETCD_X of c.args refers to"
    );
    assert_eq!(
        find("command: [sh, -c], args: [etcd $A]").1,
        "the part of the script in c.args that sets a flag in place of ETCD_X"
    );
}

#[test]
fn bitnamis_image_takes_variables_from_files() {
    let read = |env: &str| {
        let container = format!("{{name: etcd, image: bitnami/etcd:3.6, env: [{env}]}}");
        read(&serde_saphyr::from_str(&container).unwrap())
    };
    let urls = "{name: ETCD_LISTEN_CLIENT_URLS, value: 'http://0.0.0.0:2379'}";
    let value = |env: &str, flag: &str| read(&format!("{urls}, {env}")).get(flag).map(|setting| setting.value.clone());
    let hidden = Some("\u{E001}".to_owned());
    assert_eq!(value("{name: ETCD_LISTEN_CLIENT_URLS_FILE, value: /s/urls}", "listen-client-urls"), hidden);
    assert_eq!(value("{name: ETCD_CERT_FILE_FILE, value: /s/cert}", "cert-file"), hidden);
    assert_eq!(value("{name: ETCD_CERT_FILE, value: /s/cert}", "cert-file"), Some("/s/cert".to_owned()));
    let none = "{name: ETCD_LISTEN_CLIENT_URLS_FILE, value: ''}";
    assert_eq!(value(none, "listen-client-urls"), Some("http://0.0.0.0:2379".to_owned()));
    // A configuration file that the image writes makes etcd ignore them all.
    assert_eq!(
        read(&format!("{urls}, {{name: ETCD_CFG_LOG_LEVEL, value: debug}}")).unreadable().as_deref(),
        Some(
            "the configuration file that the image writes because of ETCD_CFG_LOG_LEVEL (with it, etcd ignores its variables)"
        )
    );
}

#[test]
fn what_starts_etcd_unseen_is_named() {
    for (command, args, expected) in [
        (vec!["/tmp/etcd.sh"], vec![], Some("the program \"/tmp/etcd.sh\"")),
        (vec!["bash", "/tmp/etcd.sh"], vec!["-c", "x"], Some("the script \"/tmp/etcd.sh\"")),
        (vec!["tini", "--", "/start"], vec!["--data-dir=/x"], Some("the program \"/start\"")),
        (vec!["sh", "-c", "/start.sh"], vec![], Some("a file or a command of the script in c.command")),
        (vec![], vec![], Some("the entry point of the image \"\"")),
        (vec![], vec!["--data-dir=/x"], Some("the entry point of the image \"\"")),
        (vec![], vec!["--listen-client-urls=http://0.0.0.0:2379"], None),
        (vec!["etcd"], vec![], None),
        (vec!["tini", "--", "etcd"], vec![], None),
        (vec!["/opt/bin/etcd-launcher", "run"], vec![], None),
    ] {
        assert_eq!(read(&container(&command, &args)).unreadable().as_deref(), expected, "{command:?} {args:?}");
    }
}

#[test]
fn what_keeps_no_database_is_named() {
    for (command, expected) in [
        (vec!["etcd", "grpc-proxy", "start"], Some("etcd grpc-proxy")),
        (vec!["tini", "--", "etcd", "gateway", "start"], Some("etcd gateway")),
        (vec!["etcd", "--proxy=on"], Some("etcd --proxy=on")),
        (vec!["etcd", "--proxy", "off"], None),
        (vec!["etcdctl", "--endpoints=x", "make-mirror", "y"], Some("etcdctl make-mirror")),
        (vec!["sh", "-c", "while true; do etcdctl make-mirror y; sleep 1; done"], Some("etcdctl make-mirror")),
        (vec!["sh", "-ec", "exec etcd grpc-proxy start"], Some("etcd grpc-proxy")),
        (vec!["sh", "-c", "etcdctl version; /start.sh"], None),
        (vec!["sh", "-c", "etcdctl version; exec etcd --a"], None),
        (vec!["sleep", "infinity"], Some("sleep")),
        (vec!["/bin/etcdkeeper", "--endpoints=http://etcd:2379"], Some("/bin/etcdkeeper")),
        (vec!["/start.sh", "--endpoints=http://etcd:2379", "--data-dir=/x"], None),
    ] {
        assert_eq!(read(&container(&command, &[])).keeps_no_data.as_deref(), expected, "{command:?}");
    }
}

#[test]
fn what_cannot_be_read_is_named() {
    let mut etcd = container(&["sh", "-c", "/start.sh"], &[]);
    let reference = |name: &str| Some(NameRef { name: name.to_owned() });
    etcd.env_from = vec![
        EnvFrom { config_map_ref: reference("conf"), ..EnvFrom::default() },
        EnvFrom { secret_ref: reference("pass"), ..EnvFrom::default() },
    ];
    assert_eq!(
        read(&etcd).unreadable().as_deref(),
        Some(
            "ConfigMap \"conf\" (envFrom) and Secret \"pass\" (envFrom) and a file or a command of the script in c.command"
        )
    );
}
