package node

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"controlplane/internal/pki"
)

// Names inside of the node's folder.
const (
	// KubeletKubeconfig, ProxyKubeconfig and DNSKubeconfig are written by the
	// control plane.
	KubeletKubeconfig = "kubelet.kubeconfig"
	ProxyKubeconfig   = "kube-proxy.kubeconfig"
	DNSKubeconfig     = "coredns.kubeconfig"

	containerdConfig = "containerd.toml"
	kubeletConfig    = "kubelet.yaml"
	proxyConfig      = "kube-proxy.yaml"
	corefile         = "Corefile"
)

const (
	// PauseImage holds the namespaces of every pod.
	PauseImage = "localhost/pause:test"

	containerdSocket = "/run/containerd/containerd.sock"
	snapshotter      = "overlayfs"
)

// The paths are those that the node sees: its /run and /var are its own.
const containerdTOML = `version = 3
root = "DIR/containerd"
state = "/run/containerd"

[grpc]
  address = "/run/containerd/containerd.sock"

[plugins.'io.containerd.cri.v1.images']
  snapshotter = "overlayfs"
  [plugins.'io.containerd.cri.v1.images'.pinned_images]
    sandbox = "PAUSE"

[plugins.'io.containerd.cri.v1.runtime']
  # A machine may forbid to lower it, as in a container.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins.'io.containerd.cri.v1.runtime'.cni]
    bin_dirs = ["BIN"]
    conf_dir = "DIR/cni"
  [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
      SystemdCgroup = false
`

const cniJSON = `{
  "cniVersion": "1.0.0",
  "name": "pods",
  "plugins": [{
    "type": "bridge",
    "bridge": "pods",
    "isGateway": true,
    "hairpinMode": true,
    "ipam": {
      "type": "host-local",
      "dataDir": "/run/cni",
      "ranges": [[{"subnet": "PODS"}]],
      "routes": [{"dst": "ANYWHERE"}]
    }
  }]
}
`

const kubeletYAML = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: NODE_IP
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: false}
  x509: {clientCAFile: "CA_FILE"}
# Whoever has a certificate of this authority.
authorization: {mode: AlwaysAllow}
tlsCertFile: "CERT_FILE"
tlsPrivateKeyFile: "KEY_FILE"
cgroupDriver: cgroupfs
cgroupRoot: /NAME
# Version 1 still is what many machines have.
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: []
# No sysctl of the machine is changed: isolate.go.
protectKernelDefaults: true
clusterDNS: [NODE_IP]
clusterDomain: cluster.local
resolvConf: ""
containerRuntimeEndpoint: unix://SOCKET
volumePluginDir: /var/lib/kubelet/volume-plugins
makeIPTablesUtilChains: false
healthzPort: 0
# A full disk or little memory is the machine's matter.
evictionHard: {memory.available: 1Mi, nodefs.available: 0%, imagefs.available: 0%}
imageGCHighThresholdPercent: 100
`

// The zeros leave the machine's limits of connection tracking alone.
const proxyYAML = `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: "KUBECONFIG"}
mode: iptables
clusterCIDR: PODS
hostnameOverride: NAME
iptables: {masqueradeAll: true, minSyncPeriod: 100ms}
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
`

const corefileText = `.:53 {
  bind NODE_IP
  errors
  ready 127.0.0.1:8181
  kubernetes cluster.local in-addr.arpa ip6.arpa {
    kubeconfig KUBECONFIG
    pods insecure
    ttl 1
  }
}
`

// Write writes what the node's programs are configured by. The kubeconfigs are
// there already; serving is the kubelet's certificate.
func (c Config) Write(caFile string, serving pki.Pair) error {
	network := NewNetwork(c.Number, c.IPv6)
	fill := strings.NewReplacer(
		"ANYWHERE", network.anywhere(),
		"BIN", c.Bin,
		"CA_FILE", caFile,
		"CERT_FILE", serving.CertFile,
		"DIR", c.Dir,
		"KEY_FILE", serving.KeyFile,
		"NAME", network.Name(),
		"NODE_IP", network.NodeIP(),
		"PAUSE", PauseImage,
		"PODS", network.PodCIDR(),
		"SOCKET", containerdSocket,
	)
	of := func(text, kubeconfig string) string {
		return strings.ReplaceAll(text, "KUBECONFIG", filepath.Join(c.Dir, kubeconfig))
	}
	for _, folder := range []string{"cni", "logs"} {
		if err := os.MkdirAll(filepath.Join(c.Dir, folder), 0o755); err != nil {
			return err
		}
	}
	encoded, err := json.Marshal(c)
	if err != nil {
		return err
	}
	for name, text := range map[string]string{
		configFile:          string(encoded),
		containerdConfig:    fill.Replace(containerdTOML),
		"cni/pods.conflist": fill.Replace(cniJSON),
		kubeletConfig:       fill.Replace(kubeletYAML),
		proxyConfig:         fill.Replace(of(proxyYAML, ProxyKubeconfig)),
		corefile:            fill.Replace(of(corefileText, DNSKubeconfig)),
	} {
		if err := os.WriteFile(filepath.Join(c.Dir, name), []byte(text), 0o600); err != nil {
			return fmt.Errorf("configure the node: %w", err)
		}
	}
	return nil
}
