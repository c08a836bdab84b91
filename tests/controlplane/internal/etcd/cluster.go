// Package etcd lays out a stand-alone etcd cluster.
package etcd

import (
	"context"
	"flag"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"controlplane/internal/pki"
	"controlplane/internal/ports"
	"controlplane/internal/supervisor"
)

const about = `Runs a real etcd cluster on 127.0.0.1.

Prints one JSON line when every member is ready. At the end of standard input,
or on SIGINT or SIGTERM, it stops everything. If it is killed, the kernel ends
the members with it. The members are the components etcd-0, etcd-1, ...`

// program runs every member; extra arguments are given to it by this name.
const program = "etcd"

type options struct {
	supervisor.Options
	members int
	tls     bool
	// quota of the backend in bytes; 0 is etcd's own default (2 GiB).
	quota int64
	// sans are further host names in the server certificate.
	sans []string
}

// report is the JSON line that is printed when the cluster is ready. The files
// are empty without TLS.
type report struct {
	supervisor.Base
	Endpoints      []string `json:"endpoints"`
	CAFile         string   `json:"caFile"`
	ClientCertFile string   `json:"clientCertFile"`
	ClientKeyFile  string   `json:"clientKeyFile"`
	Members        []member `json:"members"`
}

type member struct {
	Name     string `json:"name"`
	Endpoint string `json:"endpoint"`
	PeerURL  string `json:"peerUrl"`
	DataDir  string `json:"dataDir"`
}

// Cluster is the subcommand "etcd-cluster".
func Cluster(args []string) int {
	var o options
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.IntVar(&o.members, "members", 3, "`number` of members")
	flags.BoolVar(&o.tls, "tls", false, "TLS with client certificates, for clients and for peers")
	flags.Int64Var(&o.quota, "quota", 0, "backend quota in `bytes`; 0 for etcd's default")
	flags.Func("san", "a further host `name` in the server certificate; may be repeated", func(name string) error {
		o.sans = append(o.sans, name)
		return nil
	})
	if !o.Parse(flags, args, about) {
		return 2
	}
	if o.members < 1 {
		fmt.Fprintln(flags.Output(), "controlplane etcd-cluster: --members is at least 1")
		return 2
	}
	return supervisor.Run(o.Options, o.plan)
}

func (o *options) plan(reserved *ports.Reserved) (supervisor.Layout, error) {
	var layout supervisor.Layout
	made := report{}
	var security security
	if o.tls {
		var err error
		if security, err = newSecurity(filepath.Join(o.Dir, "pki"), o.sans); err != nil {
			return layout, err
		}
		made.CAFile = security.caFile
		made.ClientCertFile, made.ClientKeyFile = security.client.CertFile, security.client.KeyFile
	}
	prober, err := supervisor.NewProber(security.caFile, security.client)
	if err != nil {
		return layout, err
	}
	var peers []string
	for i := range o.members {
		m, err := o.newMember(i, security.scheme(), reserved)
		if err != nil {
			return layout, err
		}
		made.Members = append(made.Members, m)
		made.Endpoints = append(made.Endpoints, m.Endpoint)
		peers = append(peers, m.Name+"="+m.PeerURL)
	}
	// A member is ready once a majority is there, so all start together.
	var wave []supervisor.Component
	for _, m := range made.Members {
		wave = append(wave, supervisor.Component{
			Name:  m.Name,
			Args:  o.args(m, strings.Join(peers, ","), security),
			Ready: func(ctx context.Context) error { return prober.Get(ctx, m.Endpoint+"/readyz", "") },
		})
	}
	layout.Waves = [][]supervisor.Component{wave}
	layout.Report = func(base supervisor.Base) any {
		made.Base = base
		return made
	}
	return layout, nil
}

func (o *options) newMember(index int, scheme string, reserved *ports.Reserved) (member, error) {
	name := "etcd-" + strconv.Itoa(index)
	m := member{Name: name, DataDir: filepath.Join(o.Dir, name)}
	for _, url := range []*string{&m.Endpoint, &m.PeerURL} {
		port, err := reserved.Take()
		if err != nil {
			return member{}, err
		}
		*url = fmt.Sprintf("%s://127.0.0.1:%d", scheme, port)
	}
	return m, nil
}

func (o *options) args(m member, peers string, security security) []string {
	args := []string{
		program,
		"--name=" + m.Name,
		"--data-dir=" + m.DataDir,
		"--listen-client-urls=" + m.Endpoint,
		"--advertise-client-urls=" + m.Endpoint,
		"--listen-peer-urls=" + m.PeerURL,
		"--initial-advertise-peer-urls=" + m.PeerURL,
		"--initial-cluster=" + peers,
		// Nothing here has to survive a power cut.
		"--unsafe-no-fsync",
		"--log-level=info",
	}
	if o.quota > 0 {
		args = append(args, "--quota-backend-bytes="+strconv.FormatInt(o.quota, 10))
	}
	args = append(args, security.args()...)
	return append(args, o.Extra[program]...)
}

// security is the TLS material; the zero value is plain HTTP.
type security struct {
	caFile string
	server pki.Pair
	client pki.Pair
}

func newSecurity(dir string, sans []string) (security, error) {
	authority, err := pki.NewAuthority(dir, "etcd-ca")
	if err != nil {
		return security{}, err
	}
	s := security{caFile: authority.CertFile}
	// Members show it to clients and, in both roles, to each other.
	s.server, err = authority.Issue("server", pki.Identity{
		CommonName: "etcd",
		Hosts:      append([]string{"127.0.0.1", "localhost"}, sans...),
	})
	if err != nil {
		return security{}, err
	}
	s.client, err = authority.Issue("client", pki.Identity{CommonName: "root"})
	return s, err
}

func (s security) scheme() string {
	if s.caFile == "" {
		return "http"
	}
	return "https"
}

func (s security) args() []string {
	if s.caFile == "" {
		return nil
	}
	return []string{
		"--cert-file=" + s.server.CertFile,
		"--key-file=" + s.server.KeyFile,
		"--trusted-ca-file=" + s.caFile,
		"--client-cert-auth",
		"--peer-cert-file=" + s.server.CertFile,
		"--peer-key-file=" + s.server.KeyFile,
		"--peer-trusted-ca-file=" + s.caFile,
		"--peer-client-cert-auth",
	}
}
