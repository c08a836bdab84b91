// Package etcdload fills an etcd and writes to it in a steady stream.
package etcdload

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

const usage = `usage: etcd-load fill   [OPTIONS]   write keys, delete most of them, compact
       etcd-load stream [OPTIONS]   write one key after another until SIGTERM

Both print one JSON line at the end.

Options:
`

type options struct {
	endpoints         string
	caFile            string
	certFile, keyFile string
	user, password    string

	keys, size, keep int
	untilFull        bool
	compact          bool
	interval         time.Duration
	timeout          time.Duration
	duration         time.Duration
	prefix           string
}

// Main runs the program.
func Main(args []string) int {
	var o options
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.StringVar(&o.endpoints, "endpoints", "http://127.0.0.1:2379", "client `URLs`, separated by commas")
	flags.StringVar(&o.caFile, "cacert", "", "`file` with the authority of the servers")
	flags.StringVar(&o.certFile, "cert", "", "`file` with the client certificate")
	flags.StringVar(&o.keyFile, "key", "", "`file` with its private key")
	flags.StringVar(&o.user, "user", "", "user `name`")
	flags.StringVar(&o.password, "password", "", "the user's password")
	flags.IntVar(&o.keys, "keys", 1000, "fill: `number` of keys to write")
	flags.IntVar(&o.size, "size", 16<<10, "`bytes` of a value")
	flags.IntVar(&o.keep, "keep", 0, "fill: `number` of keys not to delete")
	flags.BoolVar(&o.untilFull, "until-full", false, "fill: stop writing when the quota is reached")
	flags.BoolVar(&o.compact, "compact", true, "fill: compact at the end")
	flags.DurationVar(&o.interval, "interval", 300*time.Millisecond, "stream: between the starts of two writes to a member")
	flags.DurationVar(&o.timeout, "timeout", 2*time.Second, "stream: after which a write has failed")
	flags.DurationVar(&o.duration, "duration", time.Hour, "stream: the longest it goes on")
	flags.StringVar(&o.prefix, "prefix", prefix, "`start` of every key")
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), usage)
		flags.PrintDefaults()
	}
	if len(args) < 2 {
		flags.Usage()
		return 2
	}
	if flags.Parse(args[2:]) != nil {
		return 2
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	var report any
	var err error
	switch args[1] {
	case "fill":
		report, err = o.fill(ctx)
	case "stream":
		report, err = o.stream(ctx)
	default:
		flags.Usage()
		return 2
	}
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(report)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "etcd-load %s: %v\n", args[1], err)
		return 1
	}
	return 0
}

func (o options) client(endpoints ...string) (*clientv3.Client, error) {
	config := clientv3.Config{
		Endpoints: endpoints, Username: o.user, Password: o.password, DialTimeout: 10 * time.Second,
		// What fails is counted or returned.
		Logger: zap.NewNop(),
	}
	if o.caFile != "" {
		pem, err := os.ReadFile(o.caFile)
		if err != nil {
			return nil, err
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", o.caFile)
		}
		config.TLS = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
		if o.certFile != "" {
			pair, err := tls.LoadX509KeyPair(o.certFile, o.keyFile)
			if err != nil {
				return nil, err
			}
			config.TLS.Certificates = []tls.Certificate{pair}
		}
	}
	return clientv3.New(config)
}

const prefix = "/etcd-load/"

type filled struct {
	Written  int64 `json:"written"`
	Deleted  int64 `json:"deleted"`
	Revision int64 `json:"revision"`
}

// writers is how many writes are under way at a time while filling.
const writers = 32

// attempts is how often a write is tried while filling.
const attempts = 5

// passing are the errors of an election and of a machine that does much else.
var passing = []error{
	rpctypes.ErrTimeout, rpctypes.ErrTimeoutDueToLeaderFail, rpctypes.ErrTimeoutDueToConnectionLost, rpctypes.ErrNoLeader,
	rpctypes.ErrLeaderChanged,
}

// persist tries a write again that failed for a reason that passes: it may be there twice.
func persist(ctx context.Context, write func() error) error {
	for attempt := 1; ; attempt++ {
		err := write()
		is := func(one error) bool { return errors.Is(err, one) }
		if err == nil || attempt == attempts || !slices.ContainsFunc(passing, is) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(time.Second):
		}
	}
}

// fill leaves a database whose file is far larger than what is in use.
func (o options) fill(ctx context.Context) (filled, error) {
	prefix := o.prefix
	var done filled
	client, err := o.client(strings.Split(o.endpoints, ",")...)
	if err != nil {
		return done, err
	}
	defer client.Close()
	var next, written atomic.Int64
	var wait sync.WaitGroup
	failures := make([]error, writers)
	for writer := range writers {
		wait.Go(func() {
			value := make([]byte, o.size)
			for {
				i := int(next.Add(1)) - 1
				if i >= o.keys {
					return
				}
				// Values that differ, as real ones do.
				_, _ = rand.Read(value)
				err := persist(ctx, func() error {
					_, err := client.Put(ctx, fmt.Sprintf("%s%09d", prefix, i), string(value))
					return err
				})
				if o.untilFull && errors.Is(err, rpctypes.ErrNoSpace) {
					return
				}
				if err != nil {
					failures[writer] = err
					return
				}
				written.Add(1)
			}
		})
	}
	wait.Wait()
	if err := errors.Join(failures...); err != nil {
		return done, err
	}
	done.Written = written.Load()
	err = persist(ctx, func() error {
		deleted, err := client.Delete(ctx, fmt.Sprintf("%s%09d", prefix, o.keep), clientv3.WithRange(prefix+"~"))
		if err == nil {
			done.Deleted, done.Revision = deleted.Deleted, deleted.Header.Revision
		}
		return err
	})
	if err != nil {
		return done, err
	}
	if !o.compact {
		return done, nil
	}
	// Physical: the space is free when this returns.
	_, err = client.Compact(ctx, done.Revision, clientv3.WithCompactPhysical())
	return done, err
}

type streamed struct {
	Writes   int64 `json:"writes"`
	Failed   int64 `json:"failed"`
	Slowest  int64 `json:"slowestMillis"`
	ByMember []int `json:"failedByEndpoint"`
	// Each of those that failed, in the order in which they did.
	Failures []failure `json:"failures"`
}

type failure struct {
	// By its place among the endpoints.
	Endpoint int       `json:"endpoint"`
	Began    time.Time `json:"began"`
	Ended    time.Time `json:"ended"`
}

// stream writes through each member in turn, each with a client of its own, as
// API servers do that talk to the member beside them.
func (o options) stream(ctx context.Context) (streamed, error) {
	ctx, cancel := context.WithTimeout(ctx, o.duration)
	defer cancel()
	endpoints := strings.Split(o.endpoints, ",")
	total := streamed{ByMember: make([]int, len(endpoints)), Failures: []failure{}}
	var lock sync.Mutex
	var wait sync.WaitGroup
	for member, endpoint := range endpoints {
		client, err := o.client(endpoint)
		if err != nil {
			return total, err
		}
		defer client.Close()
		wait.Go(func() {
			value := strings.Repeat("x", o.size)
			tick := time.NewTicker(o.interval)
			defer tick.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				began := time.Now()
				write, cancel := context.WithTimeout(context.WithoutCancel(ctx), o.timeout)
				_, err := client.Put(write, fmt.Sprintf("%sstream/%d", o.prefix, member), value)
				cancel()
				ended := time.Now()
				lock.Lock()
				total.Writes++
				total.Slowest = max(total.Slowest, ended.Sub(began).Milliseconds())
				if err != nil {
					total.Failed++
					total.ByMember[member]++
					total.Failures = append(total.Failures, failure{member, began, ended})
				}
				lock.Unlock()
			}
		})
	}
	wait.Wait()
	return total, nil
}
