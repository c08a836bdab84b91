// Package standin does what the engine etcd-defrag does with the arguments of
// our CronJobs: the same requests to etcd in the same order, the same rules by
// the same library.
//
// It takes no other flag, so that an argument that our CronJob should not pass
// fails a test; and it says in its first line what it is.
package standin

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/pkg/v3/logutil"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// options have the engine's defaults, not ours: what a CronJob leaves out counts.
type options struct {
	endpoints         string
	cluster           bool
	onlyEndpoints     bool
	secure            clientv3.SecureConfig
	auth              clientv3.AuthConfig
	quota             int64
	rule              string
	timeout, wait     time.Duration
	dialTimeout       time.Duration
	goOn, compaction  bool
	moveLeader        bool
	disalarm          bool
	disalarmThreshold float64
}

// Main runs the program.
func Main(args []string) int {
	log.Println("This is a stand-in for etcd-defrag, for tests only.")
	o, err := parse(args)
	if err != nil {
		return 2
	}
	if err := o.run(); err != nil {
		log.Println(err)
		return 1
	}
	return 0
}

func parse(args []string) (options, error) {
	// As the engine has it: https is verified where there is an authority.
	o := options{
		secure: clientv3.SecureConfig{InsecureTransport: true},
		auth: clientv3.AuthConfig{
			Username: os.Getenv("ETCD_DEFRAG_USER"), Password: os.Getenv("ETCD_DEFRAG_PASSWORD"),
		},
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	flags.StringVar(&o.endpoints, "endpoints", "127.0.0.1:2379", "client `URLs`, separated by commas")
	flags.BoolVar(&o.cluster, "cluster", false, "take the URLs of the member list instead")
	flags.BoolVar(&o.onlyEndpoints, "skip-healthcheck-cluster-endpoints", false,
		"look at the health of the endpoints and not of the member list's URLs")
	flags.StringVar(&o.secure.Cacert, "cacert", "", "`file` with the authority of the servers")
	flags.StringVar(&o.secure.Cert, "cert", "", "`file` with the client certificate")
	flags.StringVar(&o.secure.Key, "key", "", "`file` with its private key")
	flags.Int64Var(&o.quota, "etcd-storage-quota-bytes", 2<<30, "dbQuota of the rule")
	flags.StringVar(&o.rule, "defrag-rule", "", "when to defragment a member; always without one")
	flags.DurationVar(&o.timeout, "command-timeout", 30*time.Second, "for each request")
	flags.DurationVar(&o.dialTimeout, "dial-timeout", 2*time.Second, "for logging in")
	flags.DurationVar(&o.wait, "wait-between-defrags", 0, "after a member and after moving the leader")
	flags.BoolVar(&o.goOn, "continue-on-error", true, "go on with the next member after a failure")
	flags.BoolVar(&o.compaction, "compaction", true, "compact to the newest revision first")
	flags.BoolVar(&o.moveLeader, "move-leader", false, "make another member the leader before the leader's turn")
	flags.BoolVar(&o.disalarm, "auto-disalarm", false, "clear NOSPACE at the end")
	flags.Float64Var(&o.disalarmThreshold, "disalarm-threshold", 0.9, "share of the quota above which NOSPACE stays")
	if err := flags.Parse(args[1:]); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		err := fmt.Errorf("unexpected argument %q", flags.Arg(0))
		log.Println(err)
		return o, err
	}
	return o, nil
}

func (o options) run() error {
	if o.quota == 0 || o.disalarm && (o.disalarmThreshold <= 0 || o.disalarmThreshold >= 1) {
		return errors.New("a quota of 0, or a threshold that is not between 0 and 1")
	}
	if o.onlyEndpoints && o.cluster {
		return errors.New("the health of the endpoints only, and the endpoints of the member list")
	}
	// An example state, to refuse a rule before anything is touched.
	if _, err := evaluate(o.rule, 2<<30, 100<<20, 60<<20); err != nil {
		return fmt.Errorf("invalid rule %q: %w", o.rule, err)
	}
	if err := o.healthy(); err != nil {
		return fmt.Errorf("health check: %w", err)
	}
	endpoints := strings.Split(o.endpoints, ",")
	if o.cluster {
		var err error
		if endpoints, err = o.memberURLs(); err != nil {
			return fmt.Errorf("list the members: %w", err)
		}
	}
	var followers, leaders []string
	var revision int64
	for i, endpoint := range endpoints {
		status, err := o.status(endpoint)
		if err != nil {
			return err
		}
		if i == 0 {
			revision = status.Header.Revision
		}
		if leads(status) {
			leaders = append(leaders, endpoint)
		} else {
			followers = append(followers, endpoint)
		}
	}
	order := append(followers, leaders...)
	if o.compaction {
		err := o.with(order[:1], func(ctx context.Context, client *clientv3.Client) error {
			_, err := client.Compact(ctx, revision, clientv3.WithCompactPhysical())
			return err
		})
		// Nothing depends on it.
		log.Printf("compaction to revision %d: error: %v", revision, err)
	}
	failures := 0
	for i, endpoint := range order {
		done, failed := o.member(endpoint)
		if failed != nil {
			log.Printf("endpoint: %s, failed: %v", endpoint, failed)
			if !errors.Is(failed, errNotMoved) {
				failures++
			}
			if !o.goOn {
				break
			}
			continue
		}
		if done && i < len(order)-1 {
			o.pause()
		}
	}
	if failures > 0 {
		return fmt.Errorf("%d of %d endpoint(s) failed", failures, len(order))
	}
	log.Println("All endpoints are done.")
	if o.disalarm {
		if err := o.clearNoSpace(endpoints); err != nil {
			log.Printf("auto-disalarm: %v", err)
		}
	}
	return nil
}

// errNotMoved ends the turn of a leader; the engine counts it as no failure.
var errNotMoved = errors.New("the leader could not be moved")

// member looks at one member and defragments it if the rule says so.
func (o options) member(endpoint string) (done bool, err error) {
	before, err := o.status(endpoint)
	if err != nil {
		return false, err
	}
	wanted, err := evaluate(o.rule, o.quota, before.DbSize, before.DbSizeInUse)
	if err != nil {
		return false, fmt.Errorf("evaluate the rule: %w", err)
	}
	if !wanted {
		log.Printf("endpoint: %s, left alone: the rule is false", endpoint)
		return false, nil
	}
	if o.moveLeader && leads(before) {
		if err := o.transfer(endpoint, before.Leader); err != nil {
			return false, fmt.Errorf("%w: %w", errNotMoved, err)
		}
		o.pause()
	}
	log.Printf("endpoint: %s, defragmenting", endpoint)
	began := time.Now()
	err = o.with([]string{endpoint}, func(ctx context.Context, client *clientv3.Client) error {
		_, err := client.Defragment(ctx, endpoint)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("defragment, after %s: %w", time.Since(began), err)
	}
	log.Printf("endpoint: %s, defragmented in %s", endpoint, time.Since(began))
	_, err = o.status(endpoint)
	return true, err
}

func (o options) pause() {
	if o.wait > 0 {
		log.Printf("waiting for %s", o.wait)
		time.Sleep(o.wait)
	}
}

// transfer makes the first other member the leader, as the engine does.
func (o options) transfer(endpoint string, leader uint64) error {
	return o.with([]string{endpoint}, func(ctx context.Context, client *clientv3.Client) error {
		list, err := client.MemberList(ctx)
		if err != nil || len(list.Members) == 1 {
			return err
		}
		next := slices.IndexFunc(list.Members, func(m *etcdserverpb.Member) bool { return m.ID != leader })
		log.Printf("moving the leader from %x to %x", leader, list.Members[next].ID)
		_, err = client.MoveLeader(ctx, list.Members[next].ID)
		return err
	})
}

// healthy asks every member of the cluster by the URLs that it advertises, also
// those that are not to be defragmented; or the endpoints only, where it is told
// to. NOSPACE is what a defragmentation cures; other alarms stop it.
func (o options) healthy() error {
	endpoints := strings.Split(o.endpoints, ",")
	if !o.onlyEndpoints {
		var err error
		if endpoints, err = o.memberURLs(); err != nil {
			return err
		}
	}
	var failures []error
	for _, endpoint := range endpoints {
		err := o.with([]string{endpoint}, func(ctx context.Context, client *clientv3.Client) error {
			if _, err := client.Get(ctx, "health"); err != nil && !errors.Is(err, rpctypes.ErrPermissionDenied) {
				return err
			}
			list, err := client.AlarmList(ctx)
			if err != nil {
				return err
			}
			for _, alarm := range list.Alarms {
				if alarm.Alarm != etcdserverpb.AlarmType_NOSPACE {
					return fmt.Errorf("alarm %s", alarm.Alarm)
				}
			}
			return nil
		})
		log.Printf("endpoint: %s, health: %t", endpoint, err == nil)
		if err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", endpoint, err))
		}
	}
	return errors.Join(failures...)
}

// memberURLs are the client URLs of all members that vote.
func (o options) memberURLs() (urls []string, err error) {
	err = o.with(strings.Split(o.endpoints, ","), func(ctx context.Context, client *clientv3.Client) error {
		list, err := client.MemberList(ctx)
		if err != nil {
			return err
		}
		for _, member := range list.Members {
			if !member.IsLearner {
				urls = append(urls, member.ClientURLs...)
			}
		}
		return nil
	})
	slices.Sort(urls)
	return slices.Compact(urls), err
}

func (o options) status(endpoint string) (status *clientv3.StatusResponse, err error) {
	err = o.with([]string{endpoint}, func(ctx context.Context, client *clientv3.Client) (err error) {
		status, err = client.Status(ctx, endpoint)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("status of %s: %w", endpoint, err)
	}
	log.Printf("endpoint: %s, dbSize: %d, dbSizeInUse: %d, memberId: %x, leader: %x, revision: %d",
		endpoint, status.DbSize, status.DbSizeInUse, status.Header.MemberId, status.Leader, status.Header.Revision)
	return status, nil
}

func (o options) clearNoSpace(endpoints []string) error {
	for _, endpoint := range endpoints {
		status, err := o.status(endpoint)
		if err != nil {
			return err
		}
		if float64(status.DbSize) > float64(o.quota)*o.disalarmThreshold {
			log.Printf("endpoint: %s, still too large to clear an alarm", endpoint)
			return nil
		}
	}
	return o.with(endpoints, func(ctx context.Context, client *clientv3.Client) error {
		list, err := client.AlarmList(ctx)
		if err != nil {
			return err
		}
		for _, alarm := range list.Alarms {
			if alarm.Alarm != etcdserverpb.AlarmType_NOSPACE {
				continue
			}
			if _, err := client.AlarmDisarm(ctx, (*clientv3.AlarmMember)(alarm)); err != nil {
				return err
			}
			log.Printf("member: %x, alarm cleared", alarm.MemberID)
		}
		return nil
	})
}

func leads(status *clientv3.StatusResponse) bool { return status.Header.MemberId == status.Leader }

// with gives one request a client of its own and the time that it may take.
func (o options) with(endpoints []string, request func(context.Context, *clientv3.Client) error) error {
	// As the engine does: what the client tried again is in the log.
	logger, err := logutil.CreateDefaultZapLogger(zap.InfoLevel)
	if err != nil {
		return err
	}
	config, err := clientv3.NewClientConfig(&clientv3.ConfigSpec{
		Endpoints: endpoints, Secure: &o.secure, Auth: &o.auth,
		DialTimeout: o.dialTimeout, KeepAliveTime: 2 * time.Second, KeepAliveTimeout: 6 * time.Second,
	}, logger)
	if err != nil {
		return err
	}
	client, err := clientv3.New(*config)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), o.timeout)
	defer cancel()
	return request(ctx, client)
}
