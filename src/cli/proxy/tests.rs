use super::*;

/// The proxy of a server with these variables.
fn chosen(server: &str, variables: &[(&str, &str)]) -> Option<String> {
    with_url(server, None, variables).unwrap()
}

fn with_url(server: &str, proxy_url: Option<&str>, variables: &[(&str, &str)]) -> anyhow::Result<Option<String>> {
    let read = |name: &str| variables.iter().find(|(found, _)| *found == name).map(|(_, value)| (*value).to_owned());
    Ok(choose(&server.parse().unwrap(), proxy_url, read)?.map(|proxy| format!("{proxy} by {}", proxy.set_by)))
}

const SERVER: &str = "https://api.prod.example:6443";
const PROXY: (&str, &str) = ("HTTPS_PROXY", "http://proxy.example:3128");

#[test]
fn https_proxy_is_used() {
    let used = |variables| chosen(SERVER, variables);
    assert_eq!(used(&[]), None);
    assert_eq!(used(&[PROXY]).as_deref(), Some("http://proxy.example:3128 by HTTPS_PROXY"));
    assert_eq!(used(&[("https_proxy", "proxy:3128")]).as_deref(), Some("http://proxy:3128 by https_proxy"));
    assert_eq!(used(&[("https_proxy", "http://low"), PROXY]), used(&[PROXY]));
    assert_eq!(
        used(&[("HTTPS_PROXY", ""), ("https_proxy", "socks5h://p:1")]).as_deref(),
        Some("socks5://p:1 by https_proxy")
    );
    assert_eq!(used(&[("HTTP_PROXY", "http://p"), ("ALL_PROXY", "http://p")]), None, "kubectl reads neither");
    assert_eq!(
        used(&[("HTTPS_PROXY", "http://user:secret@proxy.example:3128")]),
        used(&[PROXY]),
        "a password is not shown"
    );
}

#[test]
fn no_proxy_concerns_the_api_server() {
    for (server, no_proxy, direct) in [
        (SERVER, "api.prod.example", true),
        (SERVER, "prod.example", true),
        (SERVER, ".prod.example", true),
        (SERVER, "*.prod.example", true),
        (SERVER, "*", true),
        (SERVER, "localhost, 10.0.0.0/8 , api.prod.example,", true),
        (SERVER, "api.prod.example:6443", true),
        (SERVER, "api.prod.example:443", false),
        (SERVER, "", false),
        (SERVER, "rod.example", false),
        // The name of the proxy itself says nothing about the API server.
        (SERVER, "proxy.example", false),
        ("https://10.1.2.3:6443", "10.0.0.0/8", true),
        ("https://10.1.2.3:6443", "10.1.2.3", true),
        ("https://10.1.2.3:6443", "10.1.2.3:6443", true),
        ("https://10.1.2.3", "10.1.2.3:443", true),
        ("https://10.1.2.3:6443", "10.2.0.0/16,10.1.2.30", false),
        ("https://[fd00::1]:6443", "fd00::/8", true),
        ("https://[fd00::1]:6443", "fd00::1", true),
        ("https://[fd00::1]:6443", "[fd00::1]:6443", true),
        ("https://[fd00::1]:6443", "[fd00::1]", true),
        ("https://[fd00::1]:6443", "[fd00::1]:443", false),
        ("https://[fd00::1]:6443", "fd01::/16,::1", false),
    ] {
        let found = chosen(server, &[PROXY, ("NO_PROXY", no_proxy)]);
        assert_eq!(found.is_none(), direct, "{server} NO_PROXY={no_proxy}");
        assert_eq!(chosen(server, &[PROXY, ("no_proxy", no_proxy)]), found);
    }
}

#[test]
fn the_machine_itself_needs_no_proxy() {
    for server in ["https://127.0.0.1:6443", "https://localhost:6443", "https://[::1]:6443", "https://127.0.0.9"] {
        assert_eq!(chosen(server, &[PROXY]), None, "{server}");
    }
}

#[test]
fn a_proxy_url_is_always_used() {
    for server in [SERVER, "https://127.0.0.1:6443"] {
        let found = with_url(server, Some("socks5://localhost:1080"), &[PROXY, ("NO_PROXY", "*")]).unwrap();
        assert_eq!(found.as_deref(), Some("socks5://localhost:1080 by proxy-url of the kubeconfig"));
    }
    assert_eq!(with_url(SERVER, Some(""), &[PROXY]).unwrap(), chosen(SERVER, &[PROXY]));
}

#[test]
fn the_proxy_url_is_that_of_the_context() {
    let kubeconfig = Kubeconfig::from_yaml(
        "{apiVersion: v1, kind: Config, current-context: a, contexts: [
           {name: a, context: {cluster: a, user: u}}, {name: b, context: {cluster: b, user: u}}], clusters: [
           {name: a, cluster: {server: 'https://a', proxy-url: 'http://pa'}}, {name: b, cluster: {server: 'https://b'}}]}",
    )
    .unwrap();
    assert_eq!(proxy_url(&kubeconfig, None), Some("http://pa"));
    assert_eq!(proxy_url(&kubeconfig, Some("b")), None);
    assert_eq!(proxy_url(&kubeconfig, Some("c")), None);
}

#[test]
fn an_unusable_proxy_is_named_without_its_password() {
    let wrong = ["ftp://user:secret@proxy", "http://user:secret@pro xy", "http://user:secret@:3128/", "http://"];
    let messages: Vec<String> = wrong
        .iter()
        .map(|value| format!("{:#}", with_url(SERVER, None, &[("HTTPS_PROXY", value)]).unwrap_err()))
        .collect();
    assert!(!messages.iter().any(|message| message.contains("secret")), "{messages:?}");
    insta::assert_snapshot!(messages.join("\n"));
}
