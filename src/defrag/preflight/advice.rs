//! What to set where a preflight failed, by what the engine wrote.

/// Words of the engines, and what to do about them; the first that is found counts.
const KNOWN: [(&[&str], &str); 13] = [
    (
        &[
            "certificate signed by unknown authority",
            "certificate is not trusted",
            "signed by an authority that --cacert does not have",
        ],
        "The members' certificates are not signed by the CA in use: name the Secret and key of the right one in \
         etcd-defrag.io/ca-secret.",
    ),
    (
        &[
            "certificate is valid for",
            "doesn't contain any IP SANs",
            "cannot validate certificate for",
            "certificate is not valid for any names",
            "its certificate is for other names",
        ],
        "The names in use are not in the members' certificates: set etcd-defrag.io/endpoints, service or cluster-domain to \
         names that are, or reissue the certificates.",
    ),
    (
        &["certificate has expired or is not yet valid", "certificate expired", "certificate not valid yet"],
        "A certificate is not valid at this time: reissue it, or check the clock of the node.",
    ),
    (
        &[
            "tls: bad certificate",
            "certificate required",
            "tls: unknown certificate",
            "client certificate that the member refused",
            "it refuses our client certificate",
        ],
        "The members refuse the client certificate, or require one: name the Secret with the right one in \
         etcd-defrag.io/client-secret.",
    ),
    (
        &[
            "first record does not look like a TLS handshake",
            "http: server gave HTTP response to HTTPS client",
            "it does not speak TLS",
        ],
        "The members speak plain HTTP: write http:// in etcd-defrag.io/endpoints.",
    ),
    (
        &[
            "no such host",
            "produced zero addresses",
            "server misbehaving",
            "name resolver error",
            "failed to lookup address information",
        ],
        "A name does not resolve: check the headless Service of the StatefulSet, and set etcd-defrag.io/service, \
         cluster-domain or endpoints.",
    ),
    (
        &[
            "invalid user ID or password",
            "authentication failed",
            "user name is empty",
            "permission denied",
            "invalid auth token",
            "check the user name and the password",
            "does not have the role root",
        ],
        "The login is refused or missing: name the Secret with user and password of a root user in etcd-defrag.io/username-secret.",
    ),
    (
        &["connection refused", "Connection refused"],
        "Nothing listens at an address: set etcd-defrag.io/client-port or endpoints to where the members listen for clients.",
    ),
    (
        &["which no endpoint reaches", "both reach the member", "which is not in the member list of its cluster"],
        "The members are not those that runs reach: set etcd-defrag.io/endpoints to one URL for each voting member, or remove a \
         member that is not there any more (etcdctl member list, etcdctl member remove).",
    ),
    (
        &["unknown flag"],
        "The image does not know a flag of the run: set job.image of the policy to a newer version of etcd-defrag.",
    ),
    (
        &["alarm:NOSPACE", "mvcc: database space exceeded"],
        "The alarm NOSPACE is raised: see docs/runbooks/EtcdDefragNoSpace.md.",
    ),
    (
        &[
            "health: false",
            "unhealthy",
            "the process there does not answer",
            "does not answer a read",
            "knows no leader",
            "do not agree on the leader",
            "entries behind the leader",
        ],
        "A member is not healthy by the engine's own check: see its log and etcdctl endpoint health.",
    ),
    (
        &["deadline exceeded", "i/o timeout", "DeadlineExceeded", "no connection within", "no answer within"],
        "A member does not answer: check NetworkPolicies between the pods labelled app.kubernetes.io/name=etcd-defrag and the members, \
         and the port in etcd-defrag.io/client-port.",
    ),
];

/// What to set; a general word where the text is not known.
#[must_use]
pub fn of(text: &str) -> &'static str {
    let known = KNOWN.iter().find(|(words, _)| words.iter().any(|word| text.contains(word)));
    known.map_or("Try it by hand with the arguments of the CronJob and --dry-run.", |(_, advice)| advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_known_cause_has_its_advice_and_the_first_cause_counts() {
        let said = [
            "x509: certificate signed by unknown authority / Failed to get members' health info: context deadline exceeded",
            "x509: certificate is valid for etcd-0, not e-0 / context deadline exceeded",
            "remote error: tls: bad certificate / context deadline exceeded",
            "dial tcp: lookup e-0.e on 10.96.0.10:53: no such host / context deadline exceeded",
            "etcdserver: authentication failed, invalid user ID or password",
            "dial tcp 10.0.0.1:2380: connect: connection refused / context deadline exceeded",
            "unknown flag: --auto-disalarm",
            "endpoint: https://e-1:2379, health: false, took: 5s, error: context deadline exceeded",
            "Failed to get members' health info: context deadline exceeded",
            "https://e-0:2379: its certificate is signed by an authority that --cacert does not have (and 2 more)",
            "https://e-0:2379: its certificate is for other names: certificate not valid for name",
            "https://e-0:2379: it refuses our client certificate (BadCertificate): check --cert and --key",
            "https://e-0:2379: it does not speak TLS: write http:// in --endpoints, or set up TLS there",
            "https://e-0:2379 cannot be reached: failed to lookup address information: Name does not resolve",
            "etcdserver: user name is empty: check the user name and the password",
            "https://e-0:2379 cannot be reached: Connection refused (os error 111)",
            "the cluster has the voting member 3 (never started), which no endpoint reaches: add it to --endpoints",
            "https://e-2:2379 cannot be reached: no TLS handshake within 2s (--dial-timeout): the address accepts connections, \
             but the process there does not answer",
            "https://e-2:2379 cannot be reached: no connection within 2s (--dial-timeout): the name server or the address does not answer",
            "something else",
        ];
        insta::assert_snapshot!(said.map(|text| format!("{text}\n  {}", of(text))).join("\n"));
    }
}
