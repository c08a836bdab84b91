package node

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Networks is how many nodes can run on one machine at a time.
const Networks = 64

// Network is the addresses of one node. They come from the range that is set
// aside for benchmarks (RFC 2544), which no real network uses.
//
//	198.18.N.1 (machine) ── veth ── 198.18.N.2 (node) ── bridge 198.19.N.1 ── pods
//
// In IPv6 they are unique local ones: fd00:12:N::1, fd00:12:N::2, fd00:13:N::1.
type Network struct {
	number int
	ipv6   bool
}

// NewNetwork is the network of the node with this number, below Networks.
func NewNetwork(number int, ipv6 bool) Network { return Network{number, ipv6} }

// Link is the name of the machine's end of the cable to the node.
func (n Network) Link() string { return fmt.Sprintf("etcd-defrag-%d", n.number) }

// HostIP is the machine's address as the node sees it.
func (n Network) HostIP() string { return n.address(18, 1).String() }

// NodeIP is the node's address, the one of its kubelet and of cluster DNS.
func (n Network) NodeIP() string { return n.address(18, 2).String() }

// PodCIDR is where the addresses of pods come from.
func (n Network) PodCIDR() string {
	if n.ipv6 {
		return netip.PrefixFrom(n.address(19, 0), 64).String()
	}
	return netip.PrefixFrom(n.address(19, 0), 24).String()
}

// Name is that of the node, and of its control groups.
func (n Network) Name() string { return fmt.Sprintf("etcd-defrag-node-%d", n.number) }

func (n Network) anywhere() string {
	if n.ipv6 {
		return "::/0"
	}
	return "0.0.0.0/0"
}

func (n Network) address(second, last int) netip.Addr {
	if n.ipv6 {
		return netip.AddrFrom16([16]byte{0: 0xfd, 3: byte(second), 5: byte(n.number), 15: byte(last)})
	}
	return netip.AddrFrom4([4]byte{198, byte(second), byte(n.number), byte(last)})
}

func (n Network) link(address netip.Addr) *netlink.Addr {
	bits := address.BitLen()
	ip := net.IPNet{IP: address.AsSlice(), Mask: net.CIDRMask(bits-2, bits)}
	// Nobody else has it, and in IPv6 the kernel would ask for a second.
	return &netlink.Addr{IPNet: &ip, Flags: unix.IFA_F_NODAD}
}

// Attach connects the network namespace of a process to this machine. The
// kernel removes all of it, the routes included, together with that namespace.
func (n Network) Attach(pid int) error {
	cable := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: n.Link()},
		PeerName:      nodeLink,
		PeerNamespace: netlink.NsPid(pid),
	}
	if err := netlink.LinkAdd(cable); err != nil {
		return fmt.Errorf("add the link %s: %w", n.Link(), err)
	}
	if err := setUp(cable, n.link(n.address(18, 1))); err != nil {
		return err
	}
	_, pods, err := net.ParseCIDR(n.PodCIDR())
	if err != nil {
		return err
	}
	err = netlink.RouteAdd(&netlink.Route{
		LinkIndex: cable.Index, Dst: pods, Gw: net.ParseIP(n.NodeIP()), Src: net.ParseIP(n.HostIP()),
	})
	if err != nil {
		return fmt.Errorf("add a route to the pods: %w", err)
	}
	return nil
}

// Detach returns when the machine's end of the cable is gone. The kernel takes
// a moment after the last process of a namespace ended.
func (n Network) Detach() error {
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		link, err := netlink.LinkByName(n.Link())
		if errors.As(err, new(netlink.LinkNotFoundError)) {
			return nil
		}
		if err != nil {
			return err
		}
		// Its other end is gone with its namespace, or about to be.
		_ = netlink.LinkDel(link)
	}
	return fmt.Errorf("the link %s is still there", n.Link())
}

// nodeLink is the name of the node's end of the cable.
const nodeLink = "eth0"

// join waits for the cable and uses it; called inside of the node.
func (n Network) join() error {
	loopback, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(loopback); err != nil {
		return err
	}
	var cable netlink.Link
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if cable, err = netlink.LinkByName(nodeLink); err == nil {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("nobody attached the node's network: %w", err)
		}
	}
	if err := setUp(cable, n.link(n.address(18, 2))); err != nil {
		return err
	}
	// The kubelet looks for a default route; nothing beyond the machine answers.
	return netlink.RouteAdd(&netlink.Route{LinkIndex: cable.Attrs().Index, Gw: net.ParseIP(n.HostIP())})
}

func setUp(link netlink.Link, address *netlink.Addr) error {
	if err := netlink.AddrAdd(link, address); err != nil {
		return fmt.Errorf("give %s the address %s: %w", link.Attrs().Name, address, err)
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return fmt.Errorf("set %s up: %w", link.Attrs().Name, err)
	}
	return nil
}
