package kube

import (
	"context"
	"strconv"

	"controlplane/internal/supervisor"
)

const (
	// issuer of service account tokens.
	issuer = "https://kubernetes.default.svc.cluster.local"
	// proxyUser is the name by which the API server calls aggregated APIs.
	proxyUser = "front-proxy-client"
)

func (c *cluster) component(
	program string, ready func(context.Context) error, args ...string,
) supervisor.Component {
	return supervisor.Component{
		Name: program,
		// Extra arguments come last: the last value of a flag counts.
		Args:  append(append([]string{program}, args...), c.extra[program]...),
		Ready: ready,
	}
}

func (c *cluster) etcd(prober supervisor.Prober) supervisor.Component {
	return c.component("etcd",
		func(ctx context.Context) error { return prober.Get(ctx, c.etcdURL()+"/readyz", "") },
		"--name=etcd",
		"--data-dir="+c.path("etcd"),
		"--listen-client-urls="+c.etcdURL(),
		"--advertise-client-urls="+c.etcdURL(),
		"--listen-peer-urls="+c.etcdPeerURL(),
		"--initial-advertise-peer-urls="+c.etcdPeerURL(),
		"--initial-cluster=etcd="+c.etcdPeerURL(),
		// Nothing here has to survive a power cut.
		"--unsafe-no-fsync",
		"--log-level=warn",
	)
}

func (c *cluster) apiServer(prober supervisor.Prober) supervisor.Component {
	ready := func(ctx context.Context) error { return prober.Get(ctx, c.serverURL()+"/readyz", "") }
	args := []string{
		"--etcd-servers=" + c.etcdURL(),
		"--bind-address=" + c.family.loopback,
		"--secure-port=" + strconv.Itoa(c.apiPort),
		"--advertise-address=" + c.family.advertised,
		"--endpoint-reconciler-type=none",
		"--tls-cert-file=" + c.apiServing.CertFile,
		"--tls-private-key-file=" + c.apiServing.KeyFile,
		"--client-ca-file=" + c.caFile,
		// Without an authority for proxied requests the controller manager logs
		// an error every few seconds. It also lets aggregated APIs work.
		"--requestheader-client-ca-file=" + c.proxyCAFile,
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--requestheader-allowed-names=" + proxyUser,
		"--proxy-client-cert-file=" + c.proxy.CertFile,
		"--proxy-client-key-file=" + c.proxy.KeyFile,
		"--authorization-mode=Node,RBAC",
		"--service-account-issuer=" + issuer,
		"--service-account-key-file=" + c.tokenPublicKey,
		"--service-account-signing-key-file=" + c.tokenKey,
		"--service-cluster-ip-range=" + c.family.serviceRange,
		// A webhook behind a Service is dialled at its endpoints: nothing here
		// routes cluster IP addresses.
		"--enable-aggregator-routing=true",
		"--allow-privileged=true",
		"--audit-policy-file=" + c.path(auditPolicy),
		"--audit-log-path=" + c.path(auditLog),
		// A request is in the log before the next one is served, and the log is
		// one file: never rotated.
		"--audit-log-mode=blocking",
		"--audit-log-maxsize=0",
		"--profiling=false",
	}
	if c.node != nil {
		args = append(args, c.node.apiServerArgs(c.caFile, c.family.unspecified)...)
	}
	return c.component("kube-apiserver", ready, args...)
}

func (c *cluster) controllerManager(prober supervisor.Prober) supervisor.Component {
	kubeconfig := c.path(managerKubeconfig)
	ready := func(ctx context.Context) error {
		// The server answers before the controllers are built; each adds a check
		// of its name then.
		if err := prober.Get(ctx, c.managerURL()+"/healthz?verbose", "cronjob-controller"); err != nil {
			return err
		}
		// Pods cannot be made before this exists.
		return prober.Get(ctx, c.serverURL()+"/api/v1/namespaces/default/serviceaccounts/default", "")
	}
	args := []string{
		"--kubeconfig=" + kubeconfig,
		"--authentication-kubeconfig=" + kubeconfig,
		"--authorization-kubeconfig=" + kubeconfig,
		"--bind-address=" + c.family.loopback,
		"--secure-port=" + strconv.Itoa(c.managerPort),
		"--tls-cert-file=" + c.managerServing.CertFile,
		"--tls-private-key-file=" + c.managerServing.KeyFile,
		"--client-ca-file=" + c.caFile,
		"--root-ca-file=" + c.caFile,
		"--service-account-private-key-file=" + c.tokenKey,
		"--cluster-signing-cert-file=" + c.caFile,
		"--cluster-signing-key-file=" + c.caKeyFile,
		"--service-cluster-ip-range=" + c.family.serviceRange,
		"--use-service-account-credentials=true",
		"--leader-elect=false",
		// The defaults (20 requests a second for each controller) are made to
		// protect a large cluster; here they would only make tests wait.
		"--kube-api-qps=500",
		"--kube-api-burst=1000",
		"--concurrent-namespace-syncs=20",
		"--concurrent-statefulset-syncs=10",
		"--concurrent-cron-job-syncs=10",
		"--concurrent-job-syncs=10",
		"--controller-shutdown-timeout=1s",
		// Otherwise it makes this folder under /usr/libexec.
		"--flex-volume-plugin-dir=" + c.path("flexvolume"),
		"--profiling=false",
	}
	if c.node != nil {
		args = append(args, managerArgs()...)
	}
	return c.component("kube-controller-manager", ready, args...)
}
