//! The command line behind a proxy: which connections go through it, and what people read if it fails.
//!
//! The API server is called by a name that only the proxy knows, so that a request without the proxy cannot succeed. Its
//! address on this machine would not do: as kubectl has it, loopback needs no proxy.

use std::{
    net::UdpSocket,
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
};

use serde_json::{Value, json};

use super::support::{stderr, world};
use harness::{ControlPlane, ForwardProxy, binary, free_port};

/// A name of the API server's certificate.
const NAME: &str = "kubernetes.default.svc";

/// A kubeconfig whose API server has another URL.
fn kubeconfig(plane: &ControlPlane, file: &str, server: &str, proxy_url: Option<&str>) -> PathBuf {
    let config = plane.kubectl_ok(&["config", "view", "--raw", "-o", "json"]);
    let mut config: Value = serde_json::from_str(&config).unwrap();
    let cluster = &mut config["clusters"][0]["cluster"];
    cluster["server"] = json!(server);
    cluster["tls-server-name"] = json!(NAME);
    if let Some(url) = proxy_url {
        cluster["proxy-url"] = json!(url);
    }
    let path = plane.dir().join(format!("proxy-{file}.kubeconfig"));
    std::fs::write(&path, config.to_string()).unwrap();
    path
}

/// `status`, with these variables and no others of a proxy.
fn status(kubeconfig: &Path, variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(binary());
    command.args(["status", "-A"]).arg("--kubeconfig").arg(kubeconfig);
    for name in ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "NO_PROXY", "no_proxy"] {
        command.env_remove(name);
    }
    command.envs(variables.iter().copied()).output().unwrap()
}

/// Whether the cluster was read: 1 is for the etcds of other tests.
fn read(output: &Output) -> bool {
    matches!(output.status.code(), Some(0 | 1))
}

#[track_caller]
fn succeeds(output: &Output) {
    assert!(read(output), "{}", stderr(output));
}

/// What the command prints when it fails, with a name for the port of the proxy.
#[track_caller]
fn fails(output: &Output, port: u16) -> String {
    assert_eq!(output.status.code(), Some(2), "{}", stderr(output));
    stderr(output)
        .replace(&format!("127.0.0.1:{port}"), "127.0.0.1:PORT")
        .replace("USER:PASSWORD@127.0.0.1:PORT", "USER:PASSWORD@…")
}

/// `127.0.0.1:PORT` of the API server.
fn address(plane: &ControlPlane) -> String {
    plane.server().trim_start_matches("https://").to_owned()
}

#[test]
fn commands_go_through_the_proxy_that_is_set_and_nowhere_else() {
    let world = world();
    let plane = &world.plane;
    let named = kubeconfig(plane, "named", &format!("https://{NAME}:6443"), None);
    let proxy = ForwardProxy::to(&address(plane));
    let url = format!("http://127.0.0.1:{}", proxy.port);

    succeeds(&status(&named, &[("HTTPS_PROXY", &url)]));
    let connect = format!("CONNECT {NAME}:6443 HTTP/1.1");
    let first = proxy.requests();
    assert!(!first.is_empty() && first.iter().all(|request| *request == connect), "{first:?}");

    // Without a scheme, with a login, and by the other variable.
    let with_login = format!("user:pa%40ss@127.0.0.1:{}", proxy.port);
    succeeds(&status(&named, &[("https_proxy", &with_login)]));
    let login = proxy.requests().pop().unwrap().to_lowercase();
    assert!(login.ends_with("proxy-authorization: basic dxnlcjpwyubzcw=="), "{login}");

    // The proxy is at 127.0.0.1, which says nothing about the API server.
    let before = proxy.requests().len();
    succeeds(&status(&named, &[("HTTPS_PROXY", &url), ("NO_PROXY", "127.0.0.1,localhost")]));
    assert!(proxy.requests().len() > before);

    // Only the proxy knows the name, so that these requests fail, and not there.
    for no_proxy in [".svc", "10.0.0.0/8,default.svc:6443", "*"] {
        let before = proxy.requests().len();
        let output = status(&named, &[("HTTPS_PROXY", &url), ("NO_PROXY", no_proxy)]);
        assert!(!read(&output), "NO_PROXY={no_proxy}");
        assert_eq!(proxy.requests().len(), before, "NO_PROXY={no_proxy}");
    }

    // A proxy-url is used whatever the variables say, for loopback, too.
    let stated = kubeconfig(plane, "stated", plane.server(), Some(&url));
    let before = proxy.requests().len();
    succeeds(&status(&stated, &[("HTTPS_PROXY", "http://127.0.0.1:1"), ("NO_PROXY", "*")]));
    assert!(proxy.requests().len() > before);

    let socks = ForwardProxy::to(&address(plane));
    let stated =
        kubeconfig(plane, "socks", &format!("https://{NAME}"), Some(&format!("socks5://127.0.0.1:{}", socks.port)));
    succeeds(&status(&stated, &[]));
    assert!(socks.requests().iter().all(|request| *request == format!("SOCKS {NAME}:443")), "{:?}", socks.requests());
    assert!(!socks.requests().is_empty());
}

/// An address of this machine that is not loopback, with a port that leads to the API server.
fn elsewhere(plane: &ControlPlane) -> Option<(std::net::IpAddr, u16)> {
    // Nothing is sent: the kernel only chooses the address.
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let ip = socket.local_addr().ok()?.ip();
    let listener = std::net::TcpListener::bind((ip, 0)).ok()?;
    let port = listener.local_addr().ok()?.port();
    let server = address(plane);
    thread::spawn(move || {
        for client in listener.incoming().filter_map(Result::ok) {
            let Ok(server) = std::net::TcpStream::connect(&server) else { continue };
            for (mut from, mut to) in [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)] {
                thread::spawn(move || std::io::copy(&mut from, &mut to));
            }
        }
    });
    Some((ip, port))
}

#[test]
fn no_proxy_leads_past_the_proxy() {
    let world = world();
    let plane = &world.plane;
    let Some((ip, port)) = elsewhere(plane) else {
        println!("SKIPPED: no_proxy_leads_past_the_proxy: this machine has no address but loopback");
        return;
    };
    let config = kubeconfig(plane, "elsewhere", &format!("https://{ip}:{port}"), None);
    let proxy = ForwardProxy::refusing("403 Forbidden");
    let url = format!("http://127.0.0.1:{}", proxy.port);
    let range = format!("192.168.250.0/24, {ip}/16");
    for no_proxy in [&ip.to_string(), &range, &format!("{ip}:{port}")] {
        succeeds(&status(&config, &[("HTTPS_PROXY", &url), ("NO_PROXY", no_proxy)]));
        succeeds(&status(&config, &[("HTTPS_PROXY", &url), ("no_proxy", no_proxy)]));
    }
    assert_eq!(proxy.requests(), Vec::<String>::new());
    let through = status(&config, &[("HTTPS_PROXY", &url), ("NO_PROXY", &format!("{ip}:1"))]);
    assert!(!read(&through) && proxy.requests().len() == 1, "{:?}", proxy.requests());

    // As for kubectl, the machine itself needs no NO_PROXY: kind and minikube listen there.
    let own = plane.kubeconfig().to_owned();
    succeeds(&status(&own, &[("HTTPS_PROXY", &url)]));
    assert_eq!(proxy.requests().len(), 1);
}

#[test]
fn a_proxy_that_fails_is_named_with_what_to_set() {
    let world = world();
    let plane = &world.plane;
    let named = kubeconfig(plane, "failing", &format!("https://{NAME}:6443"), None);
    let mut messages = Vec::new();
    for answer in ["407 Proxy Authentication Required", "403 Forbidden"] {
        let proxy = ForwardProxy::refusing(answer);
        let url = format!("http://127.0.0.1:{}", proxy.port);
        messages.push(fails(&status(&named, &[("HTTPS_PROXY", &url)]), proxy.port));
        assert!(!proxy.requests().is_empty());
    }
    let nobody = free_port();
    let url = format!("http://user:secret@127.0.0.1:{nobody}");
    messages.push(fails(&status(&named, &[("HTTPS_PROXY", &url)]), nobody));
    let stated = kubeconfig(plane, "stated-failing", plane.server(), Some(&url));
    messages.push(fails(&status(&stated, &[]), nobody).replace(&address(plane), "SERVER"));
    messages.push(fails(&status(&named, &[("HTTPS_PROXY", "ftp://127.0.0.1:1")]), 1));
    messages.push(fails(&status(&named, &[("HTTPS_PROXY", "http://127.0.0.1:1"), ("NO_PROXY", "localhost,")]), 1));
    let messages = messages.concat().replace(&*plane.dir().to_string_lossy(), "DIR");
    assert!(!messages.contains("secret"), "{messages}");
    insta::assert_snapshot!(messages);
}
