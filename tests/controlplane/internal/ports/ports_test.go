package ports

import (
	"net"
	"strconv"
	"testing"
)

func TestTakenPortsAreDistinctAndHeld(t *testing.T) {
	var mine, theirs Reserved
	defer mine.Release()
	defer theirs.Release()

	seen := map[int]bool{}
	for range 200 {
		for _, set := range []*Reserved{&mine, &theirs} {
			port, err := set.Take()
			if err != nil {
				t.Fatal(err)
			}
			if seen[port] {
				t.Fatalf("port %d was given out twice", port)
			}
			seen[port] = true
		}
	}
}

func TestReleasedPortsCanBeReserved(t *testing.T) {
	var set Reserved
	port, err := set.Take()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := hold("port", port); err == nil {
		t.Fatalf("port %d was reserved twice", port)
	}
	set.Release()
	lock, err := hold("port", port)
	if err != nil {
		t.Fatalf("port %d is still reserved after its release: %v", port, err)
	}
	_ = lock.Close()
}

func TestAPortThatIsListenedOnIsNotFree(t *testing.T) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, text, _ := net.SplitHostPort(listener.Addr().String())
	port, _ := strconv.Atoi(text)
	if free(port) {
		t.Fatalf("port %d has a listener and was called free", port)
	}
}
