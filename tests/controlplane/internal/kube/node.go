package kube

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"controlplane/internal/node"
	"controlplane/internal/pki"
	"controlplane/internal/ports"
	"controlplane/internal/supervisor"
)

const schedulerKubeconfig = "kube-scheduler.kubeconfig"

// nodeFiles is what a control plane knows of its node.
type nodeFiles struct {
	network node.Network
	config  node.Config

	schedulerPort    int
	schedulerServing pki.Pair
	// client is shown by the API server to the kubelet.
	client pki.Pair
}

func newNode(dir string, ipv6 bool, images []string, reserved *ports.Reserved) (*nodeFiles, error) {
	number, err := reserved.TakeNumber("node", node.Networks)
	if err != nil {
		return nil, err
	}
	executable, err := os.Executable()
	if err != nil {
		return nil, err
	}
	n := &nodeFiles{
		network: node.NewNetwork(number, ipv6),
		config: node.Config{
			Number: number, IPv6: ipv6, Dir: filepath.Join(dir, "node"), Bin: filepath.Dir(executable), Images: images,
		},
	}
	n.schedulerPort, err = reserved.Take()
	return n, err
}

// writeNodeFiles makes the keys, certificates and configuration of the node and
// of the scheduler.
func (c *cluster) writeNodeFiles(authority *pki.Authority) error {
	n := c.node
	dir := n.config.Dir
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	inside := "https://" + net.JoinHostPort(n.network.HostIP(), strconv.Itoa(c.apiPort))
	for _, user := range []struct {
		kubeconfig, server string
		identity           pki.Identity
	}{
		{c.path(schedulerKubeconfig), c.serverURL(), pki.Identity{CommonName: "system:kube-scheduler"}},
		{filepath.Join(dir, node.KubeletKubeconfig), inside, pki.Identity{
			CommonName: "system:node:" + n.network.Name(), Groups: []string{"system:nodes"},
		}},
		{filepath.Join(dir, node.ProxyKubeconfig), inside, pki.Identity{CommonName: "system:kube-proxy"}},
		// It reads Services, EndpointSlices, Pods and Namespaces.
		{filepath.Join(dir, node.DNSKubeconfig), inside, pki.Identity{
			CommonName: "coredns", Groups: []string{"system:masters"},
		}},
	} {
		name := user.identity.CommonName
		pair, err := authority.Issue(name, user.identity)
		if err != nil {
			return err
		}
		if err := c.writeKubeconfig(user.kubeconfig, user.server, name, pair); err != nil {
			return err
		}
	}
	var err error
	if n.client, err = authority.Issue("kubelet-client", pki.Identity{CommonName: "kube-apiserver"}); err != nil {
		return err
	}
	n.schedulerServing, err = authority.Issue("kube-scheduler-serving", pki.Identity{
		CommonName: "kube-scheduler", Hosts: []string{c.family.loopback},
	})
	if err != nil {
		return err
	}
	serving, err := authority.Issue("kubelet-serving", pki.Identity{
		CommonName: "system:node:" + n.network.Name(), Hosts: []string{n.network.NodeIP()},
	})
	if err != nil {
		return err
	}
	return n.config.Write(c.caFile, serving)
}

// apiServerArgs let the node reach the API server, and the API server the node.
func (n *nodeFiles) apiServerArgs(caFile, unspecified string) []string {
	return []string{
		"--bind-address=" + unspecified,
		"--advertise-address=" + n.network.HostIP(),
		// The Service "kubernetes" leads to that address, for pods.
		"--endpoint-reconciler-type=lease",
		"--enable-admission-plugins=NodeRestriction",
		"--kubelet-preferred-address-types=InternalIP",
		"--kubelet-certificate-authority=" + caFile,
		"--kubelet-client-certificate=" + n.client.CertFile,
		"--kubelet-client-key=" + n.client.KeyFile,
	}
}

// managerArgs make the controller manager notice within seconds what a cluster
// would give minutes.
func managerArgs() []string {
	return []string{"--node-monitor-period=1s", "--node-monitor-grace-period=20s"}
}

func (c *cluster) scheduler(prober supervisor.Prober) supervisor.Component {
	kubeconfig := c.path(schedulerKubeconfig)
	url := c.url("https", c.node.schedulerPort)
	return c.component("kube-scheduler",
		func(ctx context.Context) error { return prober.Get(ctx, url+"/readyz", "") },
		"--kubeconfig="+kubeconfig,
		"--authentication-kubeconfig="+kubeconfig,
		"--authorization-kubeconfig="+kubeconfig,
		"--bind-address="+c.family.loopback,
		"--secure-port="+strconv.Itoa(c.node.schedulerPort),
		"--tls-cert-file="+c.node.schedulerServing.CertFile,
		"--tls-private-key-file="+c.node.schedulerServing.KeyFile,
		"--client-ca-file="+c.caFile,
		"--leader-elect=false",
		"--kube-api-qps=500",
		"--kube-api-burst=1000",
		"--profiling=false",
	)
}

// nodeComponent is the whole node: it is ready when the kubelet says so.
func (c *cluster) nodeComponent(prober supervisor.Prober) supervisor.Component {
	n := c.node
	ready := func(ctx context.Context) error {
		// What the API server knows may be from before a restart.
		if err := prober.Get(ctx, "https://"+net.JoinHostPort(n.network.NodeIP(), "10250")+"/healthz", ""); err != nil {
			return err
		}
		return prober.Get(ctx, c.serverURL()+"/api/v1/nodes/"+n.network.Name(), `"reason":"KubeletReady"`)
	}
	return supervisor.Component{
		Name:       "node",
		Args:       []string{"controlplane", "node", n.config.Dir},
		Ready:      ready,
		Namespaces: node.Namespaces().Cloneflags,
		Started: func(pid int) error {
			// What a node that was killed together with its supervisor left behind.
			if err := n.cleanUp(); err != nil {
				return err
			}
			if err := node.MakeCgroups(n.network.Name()); err != nil {
				return err
			}
			return n.network.Attach(pid)
		},
		Ended: n.cleanUp,
	}
}

func (n *nodeFiles) cleanUp() error {
	if err := n.network.Detach(); err != nil {
		return err
	}
	return node.RemoveCgroups(n.network.Name())
}

// nodeReport is what a report says of the node.
type nodeReport struct {
	Name string `json:"name"`
	IP   string `json:"ip"`
	// HostIP is this machine's address as pods see it.
	HostIP  string `json:"hostIp"`
	PodCIDR string `json:"podCidr"`
}

func (n *nodeFiles) report() *nodeReport {
	if n == nil {
		return nil
	}
	return &nodeReport{n.network.Name(), n.network.NodeIP(), n.network.HostIP(), n.network.PodCIDR()}
}
