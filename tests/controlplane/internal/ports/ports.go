// Package ports finds loopback TCP ports for several control planes that start
// side by side.
package ports

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
)

// Ports come from below the range from which the kernel takes the ports of
// outgoing connections (32768 and up by default), so that no client connection
// sits on one while its server restarts, and below the NodePort range.
const (
	lowest  = 16000
	highest = 29999
	// attempts bounds the search; a machine with this many taken in a row is
	// out of ports.
	attempts = 2000
)

// Reserved is a set of ports that no other process which uses this package is
// given until Release, also while nothing listens on them.
type Reserved struct {
	locks []net.Listener
}

// Take reserves one more port on 127.0.0.1 that nothing listens on.
//
// A program that does not use this package can still take the port before its
// owner binds it, so callers treat a failed bind as a reason to try again.
func (r *Reserved) Take() (int, error) {
	for range attempts {
		port := lowest + rand.IntN(highest-lowest+1)
		lock, err := hold("port", port)
		if err != nil {
			continue
		}
		if !free(port) {
			_ = lock.Close()
			continue
		}
		r.locks = append(r.locks, lock)
		return port, nil
	}
	return 0, errors.New("no free loopback port found")
}

// TakeNumber reserves the lowest number below the limit that nobody else holds
// for this purpose.
func (r *Reserved) TakeNumber(purpose string, limit int) (int, error) {
	for number := range limit {
		lock, err := hold(purpose, number)
		if err != nil {
			continue
		}
		r.locks = append(r.locks, lock)
		return number, nil
	}
	return 0, fmt.Errorf("all %d numbers for %s are taken", limit, purpose)
}

// Release gives all ports and numbers back.
func (r *Reserved) Release() {
	for _, lock := range r.locks {
		_ = lock.Close()
	}
	r.locks = nil
}

// hold takes a name in the abstract socket namespace: atomic, without a file,
// and gone with the process however it ends.
func hold(purpose string, number int) (net.Listener, error) {
	return net.Listen("unix", fmt.Sprintf("@controlplane-%s-%d-%d", purpose, os.Getuid(), number))
}

func free(port int) bool {
	probe, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}
	return probe.Close() == nil
}
