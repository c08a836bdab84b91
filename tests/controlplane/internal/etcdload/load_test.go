package etcdload

import (
	"context"
	"testing"
	"time"

	"controlplane/internal/etcdtest"
)

func TestFill(t *testing.T) {
	url := etcdtest.Start(t, 64<<20)
	o := options{endpoints: url, keys: 500, size: 8000, keep: 25, compact: true}
	done, err := o.fill(context.Background())
	if err != nil || done.Written != 500 || done.Deleted != 475 {
		t.Fatalf("%+v, %v", done, err)
	}
	client, err := o.client(url)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	// Pages of one transaction are free from the next one on.
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if _, err := client.Put(context.Background(), "a", "b"); err != nil {
			t.Fatal(err)
		}
		status, err := client.Status(context.Background(), url)
		if err != nil {
			t.Fatal(err)
		}
		if status.DbSize > 3<<20 && status.DbSizeInUse < 1<<20 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes, %d in use", status.DbSize, status.DbSizeInUse)
		}
	}
}

func TestFillUntilFull(t *testing.T) {
	url := etcdtest.Start(t, 4<<20)
	o := options{endpoints: url, keys: 10000, size: 8000, compact: true}
	if _, err := o.fill(context.Background()); err == nil {
		t.Fatal("no error, although the quota is reached")
	}
	o.untilFull = true
	done, err := o.fill(context.Background())
	if err != nil || done.Written != 0 || done.Deleted == 0 {
		t.Fatalf("%+v, %v", done, err)
	}
}

func TestStream(t *testing.T) {
	url := etcdtest.Start(t, 64<<20)
	o := options{
		// Nobody listens at the second one.
		endpoints: url + ",http://127.0.0.1:1", size: 10,
		interval: 10 * time.Millisecond, timeout: time.Second, duration: 2 * time.Second,
	}
	total, err := o.stream(context.Background())
	if err != nil || total.Writes == 0 || total.ByMember[0] != 0 || int64(total.ByMember[1]) != total.Failed || total.Failed == 0 {
		t.Errorf("%+v, %v", total, err)
	}
	if int64(len(total.Failures)) != total.Failed {
		t.Errorf("%d failures are listed", len(total.Failures))
	}
	for _, f := range total.Failures {
		if f.Endpoint != 1 || f.Ended.Before(f.Began) {
			t.Errorf("%+v", f)
		}
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{"etcd-load"}, {"etcd-load", "empty"}, {"etcd-load", "fill", "--no-such-flag"}} {
		if code := Main(args); code != 2 {
			t.Errorf("%v: exit %d", args, code)
		}
	}
}
