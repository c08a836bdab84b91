//! The HTTP or SOCKS proxy between a command and the API server, chosen as kubectl chooses it.
//!
//! kube applies `NO_PROXY` to the address of the proxy, and also to `proxy-url`; so the choice is made here.

use std::{fmt, net::IpAddr};

use anyhow::{Context as _, bail};
use hyper::Uri;
use hyper_util::client::proxy::matcher::Matcher;
use kube::{Client, Config, client::ClientBuilder, config::Kubeconfig};
use tower::{BoxError, util::MapErrLayer};

/// The proxy, and what sets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Proxy {
    /// With the user name and password.
    uri: Uri,
    set_by: &'static str,
    /// The name or address of the API server.
    server: String,
}

const PROXY_URL: &str = "proxy-url of the kubeconfig";

/// The proxy to an API server. `variable` reads the environment. As for kubectl, `NO_PROXY` and the exception for the
/// machine itself concern the variables only: a `proxy-url` is always used.
pub(super) fn choose(
    server: &Uri,
    proxy_url: Option<&str>,
    variable: impl Fn(&str) -> Option<String>,
) -> anyhow::Result<Option<Proxy>> {
    let host = server.host().unwrap_or_default();
    let proxy = |value: &str, set_by| {
        let uri = parse(value).with_context(|| format!("cannot use the proxy in {set_by}"))?;
        Ok(Some(Proxy { uri, set_by, server: bare(host).to_owned() }))
    };
    if let Some(value) = proxy_url.filter(|value| !value.is_empty()) {
        return proxy(value, PROXY_URL);
    }
    let first = |names: [&'static str; 2]| {
        names.into_iter().find_map(|name| Some((variable(name).filter(|value| !value.is_empty())?, name)))
    };
    let Some((value, name)) = first(["HTTPS_PROXY", "https_proxy"]) else { return Ok(None) };
    let no_proxy = first(["NO_PROXY", "no_proxy"]).map(|(value, _)| value).unwrap_or_default();
    let port = server.port_u16().unwrap_or(443);
    // Only whether it matches is asked, so any proxy does.
    let matcher = Matcher::builder().https("http://proxy").no(without_ports(&no_proxy, port)).build();
    if is_loopback(host) || matcher.intercept(server).is_none() { Ok(None) } else { proxy(&value, name) }
}

/// The `proxy-url` of a context, or of the current one.
pub(super) fn proxy_url<'a>(kubeconfig: &'a Kubeconfig, context: Option<&str>) -> Option<&'a str> {
    let context = context.or(kubeconfig.current_context.as_deref())?;
    let context = kubeconfig.contexts.iter().find(|named| named.name == context)?.context.as_ref()?;
    let cluster = kubeconfig.clusters.iter().find(|named| named.name == context.cluster)?.cluster.as_ref()?;
    cluster.proxy_url.as_deref()
}

/// A client that connects through the proxy, and whose errors name it.
pub(super) fn client(mut config: Config, proxy: Option<Proxy>) -> kube::Result<Client> {
    config.proxy_url = proxy.as_ref().map(|proxy| proxy.uri.clone());
    let Some(proxy) = proxy else { return Client::try_from(config) };
    let named = MapErrLayer::new(move |error: BoxError| proxy.explain(&*error));
    Ok(ClientBuilder::try_from(config)?.with_layer(&named).build())
}

/// As Go reads it: without a scheme it is HTTP. With `socks5`, too, the proxy resolves names.
fn parse(value: &str) -> anyhow::Result<Uri> {
    let value = value.trim();
    let with_scheme = match value.split_once("://") {
        None => format!("http://{value}"),
        Some(("socks5h", rest)) => format!("socks5://{rest}"),
        Some(("http" | "https" | "socks5", _)) => value.to_owned(),
        // Without the value, which may contain a password.
        Some((scheme, _)) => bail!("{scheme}:// is not supported; write http://, https:// or socks5://"),
    };
    // The value is not in the message either.
    let uri = with_scheme.parse::<Uri>().context("it is no URL; write http://HOST:PORT")?;
    if uri.host().is_none_or(str::is_empty) {
        bail!("it has no host; write http://HOST:PORT");
    }
    Ok(uri)
}

/// The entries of `NO_PROXY` that hold for a port, as the matcher reads them: it knows neither ports nor `*.`.
fn without_ports(no_proxy: &str, port: u16) -> String {
    let entry = |entry: &str| {
        let entry = entry.trim();
        let entry = entry.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(entry);
        match entry.rsplit_once(':') {
            Some((host, only)) if !host.contains(':') || host.ends_with(']') => {
                (only.parse() == Ok(port)).then(|| bare(host).to_owned())
            }
            _ => Some(bare(entry).to_owned()),
        }
    };
    no_proxy.split(',').filter_map(entry).collect::<Vec<_>>().join(",")
}

/// A host without the brackets of IPv6.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || bare(host).parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Without user name and password.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let authority = self.uri.authority().map_or("", |authority| authority.as_str());
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        write!(f, "{}://{host}", self.uri.scheme_str().unwrap_or("http"))
    }
}

/// A failed request through a proxy, in one line: it is also the last cause, which is what people read.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Failed(String);

impl Proxy {
    fn explain(&self, error: &(dyn std::error::Error + 'static)) -> Failed {
        let chain: Vec<String> =
            std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect();
        let (set_by, server) = (self.set_by, &self.server);
        let cause = chain.last().map(String::as_str).unwrap_or_default();
        let said = |text: &str| chain.iter().any(|link| link.contains(text));
        // The texts of hyper-util, whose types are private.
        let (what, fix) = if said("proxy authorization required") {
            let address = self.to_string().replace("://", "://USER:PASSWORD@");
            (format!("the proxy {self} requires a user name and a password (407)"), format!("write {address}"))
        } else if said("tunnel error: failed to create underlying connection") {
            (format!("cannot connect to the proxy {self}: {cause}"), "correct it".to_owned())
        } else if said("tunnel error: unsuccessful") {
            let what = format!("the proxy {self} refuses a connection to {server}");
            (what, "allow the connection in the proxy".to_owned())
        } else {
            return Failed(format!("{cause} (through the proxy {self}, set by {set_by})"));
        };
        let direct =
            if set_by == PROXY_URL { "remove proxy-url".to_owned() } else { format!("add {server} to NO_PROXY") };
        Failed(format!(
            "{what}. The proxy is set by {set_by}: {fix}, or, if {server} can be reached without a proxy, {direct}"
        ))
    }
}

#[cfg(test)]
mod tests;
