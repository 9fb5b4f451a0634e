package membership

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	sockaddr "github.com/hashicorp/go-sockaddr"
)

// DefaultPort is the gossip port of an address that names none.
const DefaultPort = 7402

// SplitAddr reads host, host:port, an IPv6 address, or [IPv6]:port.
func SplitAddr(text string) (host string, port uint16, err error) {
	text = strings.TrimSpace(text)
	if addr, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		return addr.String(), DefaultPort, nil
	}
	host, portText := text, strconv.Itoa(DefaultPort)
	if strings.Contains(text, ":") {
		if host, portText, err = net.SplitHostPort(text); err != nil {
			return "", 0, fmt.Errorf("parse address %q: use host or host:port: %w", text, err)
		}
	}
	n, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || n == 0 {
		return "", 0, fmt.Errorf("parse address %q: the port must be between 1 and 65535", text)
	}
	if host == "" || strings.ContainsAny(host, "/ \t") {
		return "", 0, fmt.Errorf("parse address %q: it has no host: use host or host:port", text)
	}
	return host, uint16(n), nil
}

// CheckAdvertise refuses an advertised address that the peers could not reach this node at. Both are IP addresses,
// with or without a port; a peer that is a name is skipped, it is checked when it has been resolved.
func CheckAdvertise(advertise string, peers []string) error {
	self, err := parseIP(advertise)
	if err != nil {
		return fmt.Errorf("advertise address %q: it must be an IP address: %w", advertise, err)
	}
	if self.IsUnspecified() || self.IsMulticast() {
		return fmt.Errorf("advertise address %s is no address that another node could reach: set advertise_addr to an address of this machine", self)
	}
	if !self.IsLoopback() {
		return nil
	}
	for _, peer := range peers {
		if addr, err := parseIP(peer); err == nil && !addr.IsLoopback() {
			return fmt.Errorf("advertise address %s is this machine's loopback, which %s can't reach: set advertise_addr to an address that the other nodes can reach", self, peer)
		}
	}
	return nil
}

func parseIP(text string) (netip.Addr, error) {
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return ap.Addr().Unmap(), nil
	}
	addr, err := netip.ParseAddr(strings.Trim(text, "[]"))
	return addr.Unmap(), err
}

// lookupFunc resolves a host name.
type lookupFunc func(ctx context.Context, host string) ([]netip.Addr, error)

func systemLookup(ctx context.Context, host string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// resolve gives every address behind host[:port].
func resolve(ctx context.Context, lookup lookupFunc, text string) ([]netip.AddrPort, error) {
	host, port, err := SplitAddr(text)
	if err != nil {
		return nil, err
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.AddrPort{netip.AddrPortFrom(addr.Unmap(), port)}, nil
	}
	addrs, err := lookup(ctx, host)
	if err != nil {
		return nil, fmt.Errorf("resolve %s: %w", host, err)
	}
	out := make([]netip.AddrPort, 0, len(addrs))
	for _, addr := range addrs {
		out = append(out, netip.AddrPortFrom(addr.Unmap(), port))
	}
	return out, nil
}

// advertiseAddr chooses what to tell the others: what is configured, else the address bound to, else this
// machine's private address.
func advertiseAddr(ctx context.Context, cfg Config, bound uint16) (netip.AddrPort, error) {
	port := cfg.AdvertisePort
	if port == 0 {
		port = int(bound)
	}
	addr, err := advertiseIP(ctx, cfg)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if err := CheckAdvertise(addr.String(), cfg.RetryJoin); err != nil {
		return netip.AddrPort{}, err
	}
	return netip.AddrPortFrom(addr, uint16(port)), nil
}

func advertiseIP(ctx context.Context, cfg Config) (netip.Addr, error) {
	if cfg.AdvertiseAddr != "" {
		addrs, err := resolve(ctx, cfg.tune.lookup, cfg.AdvertiseAddr)
		if err != nil {
			return netip.Addr{}, fmt.Errorf("advertise_addr: %w", err)
		}
		if len(addrs) == 0 {
			return netip.Addr{}, fmt.Errorf("advertise_addr: %s has no address", cfg.AdvertiseAddr)
		}
		return addrs[0].Addr(), nil
	}
	if bind, err := netip.ParseAddr(cfg.BindAddr); err == nil && !bind.IsUnspecified() {
		return bind.Unmap(), nil
	}
	text, err := cfg.tune.privateIP()
	if err != nil {
		return netip.Addr{}, fmt.Errorf("find this machine's private address: %w: set advertise_addr", err)
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}, errors.New("bind_addr is every address and this machine has no private one to advertise: set advertise_addr to the address that the other nodes reach it at")
	}
	return addr.Unmap(), nil
}

func systemPrivateIP() (string, error) { return sockaddr.GetPrivateIP() }
