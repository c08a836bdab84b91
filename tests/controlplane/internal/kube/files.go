package kube

import (
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"controlplane/internal/pki"
)

// policy records every request when it is answered: who did what to which
// object, with which result; no bodies. Of a request that panics, that. Of a
// write also that it was received: what it stores can be read before its answer
// is logged, so a reader of the log has to know what is under way. A session
// inside a pod is no write, though its verb says so.
const policy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [ResponseStarted]
rules:
- level: Metadata
  omitStages: [RequestReceived]
  resources:
  - resources: [nodes/proxy, pods/attach, pods/exec, pods/portforward, pods/proxy, services/proxy]
- level: Metadata
  verbs: [create, update, patch, delete, deletecollection]
- level: Metadata
  omitStages: [RequestReceived]
`

// cluster is one control plane: its ports and the files it is configured by.
type cluster struct {
	dir    string
	extra  map[string][]string
	family family

	etcdPort, etcdPeerPort, apiPort, managerPort int

	caFile, caKeyFile string
	apiServing        pki.Pair
	managerServing    pki.Pair
	admin             pki.Pair
	proxyCAFile       string
	proxy             pki.Pair
	// node is nil where there is none.
	node *nodeFiles
	// tokenKey signs service account tokens, tokenPublicKey verifies them.
	tokenKey, tokenPublicKey string
}

func (c *cluster) etcdURL() string     { return c.url("http", c.etcdPort) }
func (c *cluster) etcdPeerURL() string { return c.url("http", c.etcdPeerPort) }
func (c *cluster) serverURL() string   { return c.url("https", c.apiPort) }
func (c *cluster) managerURL() string  { return c.url("https", c.managerPort) }

func (c *cluster) url(scheme string, port int) string {
	return scheme + "://" + net.JoinHostPort(c.family.loopback, strconv.Itoa(port))
}

// family is what the addresses of a control plane are in IPv4 or in IPv6.
type family struct {
	loopback, unspecified, serviceRange, firstServiceIP string
	// advertised is a documentation address that nobody dials. The API server
	// refuses to advertise loopback, and without this flag it looks for a
	// default route, which an isolated machine does not have.
	advertised string
}

var (
	ipv4 = family{
		loopback: "127.0.0.1", unspecified: "0.0.0.0", serviceRange: "10.96.0.0/16", firstServiceIP: "10.96.0.1",
		advertised: "192.0.2.1",
	}
	ipv6 = family{
		loopback: "::1", unspecified: "::", serviceRange: "fd00:10:96::/112", firstServiceIP: "fd00:10:96::1",
		advertised: "2001:db8::1",
	}
)

// writeFiles makes the keys, the certificates, the kubeconfigs and the audit
// policy.
func (c *cluster) writeFiles() error {
	dir := c.path("pki")
	authority, err := pki.NewAuthority(dir, "controlplane-ca")
	if err != nil {
		return err
	}
	c.caFile, c.caKeyFile = authority.CertFile, authority.KeyFile

	var manager pki.Pair
	for _, certificate := range []struct {
		into     *pki.Pair
		name     string
		identity pki.Identity
	}{
		{&c.apiServing, "kube-apiserver", pki.Identity{
			CommonName: "kube-apiserver",
			Hosts:      c.apiHosts(),
		}},
		{&c.managerServing, "kube-controller-manager-serving", pki.Identity{
			CommonName: "kube-controller-manager",
			Hosts:      []string{c.family.loopback, "localhost"},
		}},
		{&c.admin, "admin", pki.Identity{CommonName: "admin", Groups: []string{"system:masters"}}},
		{&manager, "kube-controller-manager", pki.Identity{CommonName: "system:kube-controller-manager"}},
	} {
		if *certificate.into, err = authority.Issue(certificate.name, certificate.identity); err != nil {
			return err
		}
	}
	// Separate, since whoever holds a certificate of this one may claim any user.
	proxyAuthority, err := pki.NewAuthority(filepath.Join(dir, "front-proxy"), "front-proxy-ca")
	if err != nil {
		return err
	}
	c.proxyCAFile = proxyAuthority.CertFile
	if c.proxy, err = proxyAuthority.Issue("client", pki.Identity{CommonName: proxyUser}); err != nil {
		return err
	}
	if c.tokenKey, c.tokenPublicKey, err = pki.KeyPair(dir, "service-account"); err != nil {
		return err
	}
	if err := c.writeKubeconfig(c.path(adminKubeconfig), c.serverURL(), "admin", c.admin); err != nil {
		return err
	}
	if err := c.writeKubeconfig(c.path(managerKubeconfig), c.serverURL(), "kube-controller-manager", manager); err != nil {
		return err
	}
	if c.node != nil {
		if err := c.writeNodeFiles(authority); err != nil {
			return err
		}
	}
	return c.write(auditPolicy, policy)
}

// apiHosts are the names and addresses by which the API server is reached.
func (c *cluster) apiHosts() []string {
	hosts := []string{
		c.family.loopback, "localhost", c.family.firstServiceIP, "kubernetes", "kubernetes.default",
		"kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
	}
	if c.node != nil {
		hosts = append(hosts, c.node.network.HostIP())
	}
	return hosts
}

// writeKubeconfig embeds the certificates, so that the file can be handed to a
// program that sees no other.
func (c *cluster) writeKubeconfig(path, server, user string, pair pki.Pair) error {
	var encoded [3]string
	for i, file := range []string{c.caFile, pair.CertFile, pair.KeyFile} {
		pem, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		encoded[i] = base64.StdEncoding.EncodeToString(pem)
	}
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters:
- name: controlplane
  cluster:
    server: %[1]s
    certificate-authority-data: %[2]s
users:
- name: %[5]s
  user:
    client-certificate-data: %[3]s
    client-key-data: %[4]s
contexts:
- name: controlplane
  context:
    cluster: controlplane
    user: %[5]s
current-context: controlplane
`, server, encoded[0], encoded[1], encoded[2], user)
	return os.WriteFile(path, []byte(text), 0o600)
}
