package standin

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"controlplane/internal/etcdtest"
)

func TestRules(t *testing.T) {
	const gib, mib = 1 << 30, 1 << 20
	for _, test := range []struct {
		rule                 string
		quota, size, inUse   int64
		fires, noSuchJudging bool
	}{
		{"", gib, 0, 0, true, false},
		{"dbQuotaUsage > 0.8", gib, 900 * mib, 0, true, false},
		{"dbQuotaUsage > 0.8", gib, 800 * mib, 0, false, false},
		// Integers divide as integers: 80/100 is 0.
		{"dbQuotaUsage > 80/100", gib, mib, mib, true, false},
		{"dbSizeFree > 200*1024*1024", gib, 301 * mib, 100 * mib, true, false},
		{"dbSizeFree > 200*1024*1024", gib, 300 * mib, 100 * mib, false, false},
		{"dbSize", gib, mib, mib, false, true},
		{"dbSize >", gib, mib, mib, false, true},
		{"dbSizes > 1", gib, mib, mib, false, true},
	} {
		fires, err := evaluate(test.rule, test.quota, test.size, test.inUse)
		if fires != test.fires || (err != nil) != test.noSuchJudging {
			t.Errorf("%q at %d of %d: %t, %v", test.rule, test.inUse, test.size, fires, err)
		}
	}
}

func TestFlags(t *testing.T) {
	t.Setenv("ETCD_DEFRAG_USER", "root")
	t.Setenv("ETCD_DEFRAG_PASSWORD", "a:b")
	o, err := parse([]string{"x", "--endpoints=https://a:2379,https://b:2379", "--cacert=/ca", "--cert=/c", "--key=/k",
		"--etcd-storage-quota-bytes=8589934592", "--defrag-rule=dbSize > 1", "--command-timeout=4m0s",
		"--wait-between-defrags=30s", "--continue-on-error=false", "--compaction=false", "--move-leader=true",
		"--auto-disalarm=true", "--disalarm-threshold=0.9"})
	if err != nil {
		t.Fatal(err)
	}
	if o.goOn || o.compaction || !o.moveLeader || o.timeout != 4*time.Minute || o.auth.Password != "a:b" {
		t.Errorf("%+v", o)
	}
	if o, err := parse([]string{"x", "--endpoints=http://a:2379", "--skip-healthcheck-cluster-endpoints"}); err != nil || !o.onlyEndpoints {
		t.Errorf("%+v, %v", o, err)
	}
	for _, args := range [][]string{{"--dry-run"}, {"--exclude-localhost"}, {"leftover"}, {"--command-timeout=30"}} {
		if _, err := parse(append([]string{"x"}, args...)); err == nil {
			t.Errorf("%v is accepted", args)
		}
	}
	if _, err := parse([]string{"x"}); err != nil {
		t.Error(err)
	}
}

func TestRun(t *testing.T) {
	url := etcdtest.Start(t, 64<<20)
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{url}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx := context.Background()
	value := strings.Repeat("x", 1<<20)
	for i := range 8 {
		if _, err := client.Put(ctx, fmt.Sprint(i), value); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := client.Delete(ctx, "0", clientv3.WithFromKey()); err != nil {
		t.Fatal(err)
	}
	size := func() int64 {
		status, err := client.Status(ctx, url)
		if err != nil {
			t.Fatal(err)
		}
		return status.DbSize
	}
	run := func(args ...string) int { return Main(append([]string{"x", "--endpoints=" + url}, args...)) }
	// Sizes are those of the last commits, and it takes writes to have commits.
	eventually := func(what string, holds func() bool) {
		for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(50 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: %d bytes", what, size())
			}
			if _, err := client.Put(ctx, "!", "x"); err != nil {
				t.Fatal(err)
			}
		}
	}
	const mib = 1 << 20
	eventually("the file grows", func() bool { return size() > 8*mib })
	// Without compaction nothing is free.
	if code := run("--compaction=false", "--defrag-rule=dbSizeFree > 6*1024*1024"); code != 0 || size() < 8*mib {
		t.Fatalf("exit %d, %d bytes", code, size())
	}
	eventually("the file shrinks", func() bool {
		if code := run("--defrag-rule=dbSizeFree > 6*1024*1024", "--move-leader"); code != 0 {
			t.Fatalf("exit %d", code)
		}
		return size() < 4*mib
	})
	if code := run("--defrag-rule=dbSize"); code != 1 {
		t.Errorf("exit %d with a rule that is not one", code)
	}
	if code := run("--etcd-storage-quota-bytes=0"); code != 1 {
		t.Errorf("exit %d without a quota", code)
	}
	if code := run("--no-such-flag"); code != 2 {
		t.Errorf("exit %d with an unknown flag", code)
	}
}
