//! `--tls-client-ca`: only the API server may call, and shows who it is by an `AdmissionConfiguration`.

use std::fs;

use crate::{
    caller::{CLIENT, admission_configuration, authority, client},
    support::{SOON, answered, not_answered},
};
use harness::{API_SERVER, ControlPlane, Serve, ServeOptions, eventually, free_port};

/// Waits until a call of the API server is turned away by this process: one that comes too early finds nobody.
#[track_caller]
fn refused_because(plane: &ControlPlane, serve: &Serve, why: &str) {
    eventually("the log to say why", SOON, || {
        not_answered(plane);
        serve.log().contains(why).then_some(())
    });
}

#[test]
fn only_the_api_server_that_shows_who_it_is_may_call() {
    let dir = tempfile::tempdir().unwrap();
    let ca = authority(dir.path(), "clients");
    client(dir.path(), &ca, CLIENT);
    fs::copy(dir.path().join("clients.crt"), dir.path().join("trusted.crt")).unwrap();
    let port = free_port();
    let file = admission_configuration(dir.path(), &format!("127.0.0.1:{port}"));
    let argument = format!("--admission-control-config-file={file}");
    let plane = ControlPlane::start_with(&[(API_SERVER, argument.as_str())]);

    let trusted = dir.path().join("trusted.crt");
    let options = |port: u16, name: &str| ServeOptions {
        register: true,
        port,
        args: vec![format!("--tls-client-ca={}", trusted.display()), format!("--tls-client-name={name}")],
        ..ServeOptions::default()
    };
    // It starts only once the API server was answered by it.
    let serve = Serve::start_with(&plane, &options(port, CLIENT));
    answered(&plane, "no annotation");
    let (ready, words) = serve.readyz().unwrap();
    let line = words.lines().find(|line| line.contains("]clients ")).unwrap().to_owned();
    assert!(ready);
    insta::assert_snapshot!(line, @r#"[+]clients ok: clients with a certificate for "kube-apiserver-webhook-client""#);

    // Another CA, as if the certificate were a stranger's; then the right one again.
    authority(dir.path(), "strangers");
    let replace = |with: &str| {
        fs::copy(dir.path().join(with), dir.path().join("new.crt")).unwrap();
        fs::rename(dir.path().join("new.crt"), &trusted).unwrap();
    };
    let followed = |times: usize| {
        eventually("the CA of clients to be followed", SOON, || {
            (serve.log().matches("clients are verified with").count() == times).then_some(())
        });
    };
    replace("strangers.crt");
    followed(2);
    // Connections that are open were judged already.
    serve.signal("TERM");
    drop(serve);
    let serve = Serve::spawn(&plane, &options(port, CLIENT));
    refused_because(&plane, &serve, "no CA of --tls-client-ca signed it");
    replace("clients.crt");
    answered(&plane, "no annotation");

    // Half a file changes nothing.
    fs::write(&trusted, "-----BEGIN CERTIFICATE-----\nAAAA").unwrap();
    let (ready, words) = eventually("the bad CA to be noticed", SOON, || {
        serve.readyz().filter(|(_, words)| words.contains("a newer CA could not be loaded"))
    });
    assert!(ready, "{words}");
    answered(&plane, "no annotation");
    replace("clients.crt");
    drop(serve);

    // The certificate of somebody else.
    let serve = Serve::spawn(&plane, &options(port, "somebody-else"));
    let wanted = "it is for \\\"kube-apiserver-webhook-client\\\", and --tls-client-name admits \\\"somebody-else\\\"";
    refused_because(&plane, &serve, wanted);
    drop(serve);

    // None: the API server has one for another address only.
    let serve = Serve::spawn(&plane, &options(free_port(), CLIENT));
    refused_because(&plane, &serve, "the client has no certificate");
}
