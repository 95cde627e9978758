package forward_test

import (
	"context"
	"net"
)

// recordAddr returns a dialer that notes its address.
func recordAddr(addr *string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		if err == nil {
			*addr = c.LocalAddr().String()
		}
		return c, err
	}
}
