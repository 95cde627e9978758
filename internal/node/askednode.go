package node

import "net"

// askedNode is a running node that a command asks, by its internal listener.
type askedNode struct {
	Addr         string `default:"" env:"-" placeholder:"HOST:PORT" help:"Internal address of the node. Empty: that of --internal-addr."`
	InternalAddr string `default:"127.0.0.1:9464" help:"Internal address, as the node has it."`
}

func (n *askedNode) validate() error {
	if n.Addr != "" {
		return validateAddr("addr", n.Addr)
	}
	if n.InternalAddr == "" {
		return invalidf("internal-addr", "is empty: a node without an internal address cannot be asked")
	}
	return validateAddr("internal-addr", n.InternalAddr)
}

// address returns where to connect to. All interfaces have the loopback among them.
func (n *askedNode) address() string {
	addr := n.Addr
	if addr == "" {
		addr = n.InternalAddr
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil { // which validate excludes
		return addr
	}
	switch ip := net.ParseIP(host); {
	case host == "" || ip.Equal(net.IPv4zero):
		host = "127.0.0.1"
	case ip.Equal(net.IPv6zero):
		host = "::1"
	}
	return net.JoinHostPort(host, port)
}
