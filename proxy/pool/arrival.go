package pool

import "context"

type arrivalKey struct{}

// WithArrivals returns a context for a request that tells f whenever bytes of its answer,
// head or body, have come from the endpoint over HTTP/1.1. net/http gives the bytes of a
// chunk on only when it has all that fit into the reader's buffer, so that who waits for a
// read cannot tell a chunk that comes slowly from one that has stopped to come. Over HTTP/2
// f is not called: what has come is read at once.
//
// f is called by whoever reads the answer, perhaps once more when that is over, and must
// neither block nor read.
func WithArrivals(ctx context.Context, f func()) context.Context {
	return context.WithValue(ctx, arrivalKey{}, f)
}

func arrivals(ctx context.Context) func() {
	f, _ := ctx.Value(arrivalKey{}).(func())
	return f
}
