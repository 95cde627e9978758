package socketio_test

import (
	"context"
	"errors"
	"testing"

	"example.com/chorus/pkg/adapter"
	"example.com/chorus/pkg/socketio"
)

// fullAdapter has a queue that is full until ctx ends.
type fullAdapter struct{ adapter.Adapter }

type fullLink struct{ adapter.Link }

func (a fullAdapter) Join(ctx context.Context, nsp string, local adapter.Local) (adapter.Link, error) {
	l, err := a.Adapter.Join(ctx, nsp, local)
	return fullLink{l}, err
}

func (fullLink) Publish(ctx context.Context, _ *adapter.Message) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

// The clients of this node do not wait for the line to the others.
func TestLocalDeliveryDoesNotWaitForTheAdapter(t *testing.T) {
	server, front := start(t, &socketio.Options{Adapter: fullAdapter{adapter.NewMemory()}})
	p := dial(t, front, "/")
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Emit(ctx, "now") }()
	p.expect(`42["now"]`)
	stop := errors.New("enough")
	cancel(stop)
	if err := receive(t, done); !errors.Is(err, stop) {
		t.Errorf("Emit = %v, want the context's cause", err)
	}
}
