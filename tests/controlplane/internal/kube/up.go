// Package kube lays out a Kubernetes control plane: etcd, the API server and
// the controller manager, and with a node the scheduler and that.
package kube

import (
	"flag"
	"os"
	"path/filepath"

	"controlplane/internal/ports"
	"controlplane/internal/supervisor"
)

const about = `Runs a real Kubernetes control plane on loopback: etcd, kube-apiserver (RBAC,
admission webhooks, Pod Security, an audit log of every request) and
kube-controller-manager. Without --node pods stay Pending. With it, which takes
root, there is a real node too: kube-scheduler on 127.0.0.1, and containerd,
kubelet, kube-proxy and CoreDNS in namespaces of their own.

Prints one JSON line when everything is ready. At the end of standard input, or
on SIGINT or SIGTERM, it stops everything. If it is killed, the kernel ends the
components with it.`

// report is the JSON line that is printed when the control plane is ready.
type report struct {
	supervisor.Base
	Version        string `json:"version"`
	Server         string `json:"server"`
	Kubeconfig     string `json:"kubeconfig"`
	CAFile         string `json:"caFile"`
	ClientCertFile string `json:"clientCertFile"`
	ClientKeyFile  string `json:"clientKeyFile"`
	AuditLog       string `json:"auditLog"`
	EtcdEndpoint   string `json:"etcdEndpoint"`
	// Node is nil without one.
	Node *nodeReport `json:"node,omitempty"`
}

type options struct {
	supervisor.Options
	node   bool
	ipv6   bool
	images []string
}

// Up is the subcommand "up".
func Up(args []string) int {
	var options options
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.BoolVar(&options.node, "node", false, "run a node too; needs root")
	flags.BoolVar(&options.ipv6, "ipv6", false, "no address of IPv4: everything on ::1, and IPv6 for Services, node and pods")
	flags.Func("image", "an image `archive` to load into the node; may be repeated", func(path string) error {
		absolute, err := filepath.Abs(path)
		options.images = append(options.images, absolute)
		return err
	})
	if !options.Parse(flags, args, about) {
		return 2
	}
	return supervisor.Run(options.Options, func(reserved *ports.Reserved) (supervisor.Layout, error) {
		return plan(options, reserved)
	})
}

func plan(options options, reserved *ports.Reserved) (supervisor.Layout, error) {
	var layout supervisor.Layout
	c := cluster{dir: options.Dir, extra: options.Extra, family: ipv4}
	if options.ipv6 {
		c.family = ipv6
	}
	for _, port := range []*int{&c.etcdPort, &c.etcdPeerPort, &c.apiPort, &c.managerPort} {
		var err error
		if *port, err = reserved.Take(); err != nil {
			return layout, err
		}
	}
	if options.node {
		var err error
		if c.node, err = newNode(options.Dir, options.ipv6, options.images, reserved); err != nil {
			return layout, err
		}
	}
	if err := c.writeFiles(); err != nil {
		return layout, err
	}
	prober, err := supervisor.NewProber(c.caFile, c.admin)
	if err != nil {
		return layout, err
	}
	layout.Waves = [][]supervisor.Component{
		{c.etcd(prober)},
		{c.apiServer(prober)},
		{c.controllerManager(prober)},
	}
	if c.node != nil {
		layout.Waves = append(layout.Waves[:2], []supervisor.Component{
			c.controllerManager(prober), c.scheduler(prober), c.nodeComponent(prober),
		})
	}
	layout.Report = func(base supervisor.Base) any {
		return report{
			Base:           base,
			Version:        serverVersion(),
			Server:         c.serverURL(),
			Kubeconfig:     c.path(adminKubeconfig),
			CAFile:         c.caFile,
			ClientCertFile: c.admin.CertFile,
			ClientKeyFile:  c.admin.KeyFile,
			AuditLog:       c.path(auditLog),
			EtcdEndpoint:   c.etcdURL(),
			Node:           c.node.report(),
		}
	}
	return layout, nil
}

// Names inside the cluster's folder.
const (
	adminKubeconfig   = "admin.kubeconfig"
	managerKubeconfig = "kube-controller-manager.kubeconfig"
	auditLog          = "audit.log"
	auditPolicy       = "audit-policy.yaml"
)

func (c *cluster) path(name string) string {
	return filepath.Join(c.dir, name)
}

func (c *cluster) write(name, text string) error {
	return os.WriteFile(c.path(name), []byte(text), 0o600)
}
