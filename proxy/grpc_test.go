package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"strangler/capability"
)

// grpcCells runs a behaviour in every cell of gRPC, of both classes of route.
func grpcCells(t *testing.T, behaviour func(t *testing.T, conn *grpc.ClientConn, s *conformService, ctx context.Context)) {
	t.Helper()
	conformWhere(t, overHTTP2, func(t *testing.T, c pairing) {
		for _, class := range []capability.Class{capability.Read, capability.Write} {
			t.Run(string(class), func(t *testing.T) {
				_, conn, s := c.startGRPC(t, class)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				behaviour(t, conn, s, ctx)
			})
		}
	})
}

// arrived checks the metadata of a call at the server, and what came back.
func arrived(t *testing.T, s *conformService, head, tail metadata.MD) {
	t.Helper()
	in := <-s.headers
	for name, want := range map[string]string{"x-mine": "m1|m2", "x-mine-bin": "\x00\x01\xff", "te": ""} {
		if v := strings.Join(in.Get(name), "|"); v != want {
			t.Errorf("%s arrived as %q", name, v)
		}
	}
	if len(in.Get("x-request-id")) != 1 || len(in.Get("x-forwarded-for")) != 1 || !strings.HasPrefix(strings.Join(in.Get("user-agent"), ""), "grpc-go/") {
		t.Errorf("metadata arrived: %v", in)
	}
	if strings.Join(head.Get("x-head"), "|") != "h1|h2" || strings.Join(head.Get("x-data-bin"), "|") != "\x00\xff" || strings.Join(head.Get("x-strangler-side"), "|") != "legacy" {
		t.Errorf("header came back: %v", head)
	}
	if strings.Join(tail.Get("x-tail"), "|") != "t1" || strings.Join(tail.Get("x-tail-bin"), "|") != "\x01\xfe" {
		t.Errorf("trailer came back: %v", tail)
	}
}

func withMine(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "x-mine", "m1", "x-mine", "m2", "x-mine-bin", "\x00\x01\xff")
}

func TestGRPCUnary(t *testing.T) {
	grpcCells(t, func(t *testing.T, conn *grpc.ClientConn, s *conformService, ctx context.Context) {
		var out text
		var head, tail metadata.MD
		if err := conn.Invoke(withMine(ctx), "/conform.Echo/Unary", wrapperspb.String("x"), &out, grpc.Header(&head), grpc.Trailer(&tail)); err != nil || out.GetValue() != "echo x" {
			t.Fatalf("%q, %v", out.GetValue(), err)
		}
		arrived(t, s, head, tail)
	})
}

// A status is a trailer, with a message that is not ASCII and details; the answer's
// head may be its only frame.
func TestGRPCStatus(t *testing.T) {
	grpcCells(t, func(t *testing.T, conn *grpc.ClientConn, s *conformService, ctx context.Context) {
		var head, tail metadata.MD
		err := conn.Invoke(withMine(ctx), "/conform.Echo/Unary", wrapperspb.String("fail"), &text{}, grpc.Header(&head), grpc.Trailer(&tail))
		st := status.Convert(err)
		if st.Code() != codes.FailedPrecondition || st.Message() != "not so: 100 % \n ünlikely" || len(st.Details()) != 1 {
			t.Fatalf("%v, details %v", err, st.Details())
		}
		if d, ok := st.Details()[0].(*text); !ok || d.GetValue() != "detail" {
			t.Errorf("detail %v", st.Details()[0])
		}
		arrived(t, s, head, tail)
		for _, method := range []string{"/conform.Echo/Missing", "/conform.Other/Unary"} { // the second is unclaimed
			if err := conn.Invoke(ctx, method, wrapperspb.String("x"), &text{}); status.Code(err) != codes.Unimplemented {
				t.Errorf("%s: %v", method, err)
			}
		}
	})
}

func TestGRPCClientStream(t *testing.T) {
	grpcCells(t, func(t *testing.T, conn *grpc.ClientConn, s *conformService, ctx context.Context) {
		stream, err := conn.NewStream(withMine(ctx), &grpc.StreamDesc{ClientStreams: true}, "/conform.Echo/Gather")
		if err != nil {
			t.Fatal(err)
		}
		want := ""
		for i := range 100 {
			want += fmt.Sprint(i)
			if err := stream.SendMsg(wrapperspb.String(fmt.Sprint(i))); err != nil {
				t.Fatal(err)
			}
		}
		_ = stream.CloseSend()
		var out text
		if err := stream.RecvMsg(&out); err != nil || out.GetValue() != want {
			t.Fatalf("%q, %v", out.GetValue(), err)
		}
		head, _ := stream.Header()
		arrived(t, s, head, stream.Trailer())
	})
}

func TestGRPCServerStream(t *testing.T) {
	grpcCells(t, func(t *testing.T, conn *grpc.ClientConn, s *conformService, ctx context.Context) {
		for ask, code := range map[string]codes.Code{"x": codes.OK, "fail": codes.Aborted} {
			stream, err := conn.NewStream(withMine(ctx), &grpc.StreamDesc{ServerStreams: true}, "/conform.Echo/Spread")
			if err != nil {
				t.Fatal(err)
			}
			if err := stream.SendMsg(wrapperspb.String(ask)); err != nil {
				t.Fatal(err)
			}
			_ = stream.CloseSend()
			for range 3 {
				var out text
				if err := stream.RecvMsg(&out); err != nil || out.GetValue() != "echo "+ask {
					t.Fatalf("%q, %v", out.GetValue(), err)
				}
			}
			if err := stream.RecvMsg(&text{}); code == codes.OK && !errors.Is(err, io.EOF) || code != codes.OK && status.Code(err) != code {
				t.Errorf("%s ended with %v", ask, err)
			}
			head, _ := stream.Header()
			arrived(t, s, head, stream.Trailer())
		}
	})
}

// A thousand questions, each asked when the one before was answered.
func TestGRPCBothStreams(t *testing.T) {
	grpcCells(t, func(t *testing.T, conn *grpc.ClientConn, s *conformService, ctx context.Context) {
		stream, err := conn.NewStream(withMine(ctx), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/conform.Echo/Both")
		if err != nil {
			t.Fatal(err)
		}
		for i := range 1000 {
			if err := stream.SendMsg(wrapperspb.String(fmt.Sprint(i))); err != nil {
				t.Fatal(err)
			}
			var out text
			if err := stream.RecvMsg(&out); err != nil || out.GetValue() != fmt.Sprint("echo ", i) {
				t.Fatalf("%d: %q, %v", i, out.GetValue(), err)
			}
		}
		_ = stream.CloseSend()
		if err := stream.RecvMsg(&text{}); !errors.Is(err, io.EOF) {
			t.Errorf("ended with %v", err)
		}
		head, _ := stream.Header()
		arrived(t, s, head, stream.Trailer())
	})
}

func TestGRPCLargeMessages(t *testing.T) {
	grpcCells(t, func(t *testing.T, conn *grpc.ClientConn, _ *conformService, ctx context.Context) {
		large := strings.Repeat("0123456789abcdef", 1<<20/2) // 8 MiB
		var out text
		if err := conn.Invoke(ctx, "/conform.Echo/Unary", wrapperspb.String(large), &out); err != nil || out.GetValue() != "echo "+large {
			t.Fatalf("%d bytes, %v", len(out.GetValue()), err)
		}
	})
}

// The server knows the client's deadline, and both find that it has passed.
func TestGRPCDeadline(t *testing.T) {
	grpcCells(t, func(t *testing.T, conn *grpc.ClientConn, s *conformService, ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		defer cancel()
		err := conn.Invoke(ctx, "/conform.Echo/Unary", wrapperspb.String("wait"), &text{})
		if status.Code(err) != codes.DeadlineExceeded {
			t.Errorf("the client saw %v", err)
		}
		if left := <-s.deadline; left <= 0 || left > 300*time.Millisecond {
			t.Errorf("the server was given %v", left)
		}
		// grpc-go's server resets the call of itself, or is told by the client's reset first.
		if err := <-s.ended; !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
			t.Errorf("the server saw %v", err)
		}
	})
}

// A call that is taken back ends at the server: of a read, or of a stream whose
// messages the client would still have sent.
func TestGRPCCancel(t *testing.T) {
	grpcCells(t, func(t *testing.T, conn *grpc.ClientConn, s *conformService, ctx context.Context) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/conform.Echo/Both")
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.SendMsg(wrapperspb.String("wait")); err != nil {
			t.Fatal(err)
		}
		if err := stream.RecvMsg(&text{}); err != nil {
			t.Fatal(err)
		}
		<-s.waiting
		cancel()
		if err := <-s.ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the server saw %v", err)
		}
		if err := stream.RecvMsg(&text{}); status.Code(err) != codes.Canceled {
			t.Errorf("the client saw %v", err)
		}
	})
}

// A call of one message that is a counted write goes on like any other; of a read
// it ends.
func TestGRPCCancelUnary(t *testing.T) {
	conformWhere(t, overHTTP2, func(t *testing.T, c pairing) {
		_, conn, s := c.startGRPC(t, capability.Read)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- conn.Invoke(ctx, "/conform.Echo/Unary", wrapperspb.String("wait"), &text{}) }()
		<-s.waiting
		cancel()
		if err := <-s.ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the server saw %v", err)
		}
		if err := <-done; status.Code(err) != codes.Canceled {
			t.Errorf("the client saw %v", err)
		}
	})
}
