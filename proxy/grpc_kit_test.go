package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"strangler/capability"
)

// text is the one message of the test service.
type text = wrapperspb.StringValue

// conformService is what a gRPC server does in these tests.
type conformService struct {
	headers  chan metadata.MD // of each call, as the server saw them
	deadline chan time.Duration
	ended    chan error // why the context of a call that waits ended
	waiting  chan struct{}
}

func newConformService() *conformService {
	return &conformService{make(chan metadata.MD, 64), make(chan time.Duration, 64), make(chan error, 64), make(chan struct{}, 64)}
}

// begin answers the metadata of a call, and keeps what arrived.
func (s *conformService) begin(ctx context.Context, header, trailer func(metadata.MD) error) {
	in, _ := metadata.FromIncomingContext(ctx)
	s.headers <- in
	if at, ok := ctx.Deadline(); ok {
		s.deadline <- time.Until(at)
	}
	_ = header(metadata.Pairs("x-head", "h1", "x-head", "h2", "x-data-bin", "\x00\xff"))
	_ = trailer(metadata.Pairs("x-tail", "t1", "x-tail-bin", "\x01\xfe"))
}

func (s *conformService) unary(ctx context.Context, in *text) (*text, error) {
	s.begin(ctx, func(m metadata.MD) error { return grpc.SetHeader(ctx, m) }, func(m metadata.MD) error { return grpc.SetTrailer(ctx, m) })
	switch in.GetValue() {
	case "fail":
		st, err := status.New(codes.FailedPrecondition, "not so: 100 % \n ünlikely").WithDetails(wrapperspb.String("detail"))
		if err != nil {
			return nil, err
		}
		return nil, st.Err()
	case "wait":
		s.waiting <- struct{}{}
		<-ctx.Done()
		s.ended <- ctx.Err()
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	return wrapperspb.String("echo " + in.GetValue()), nil
}

// stream echoes every message, and waits for the end of the context after "wait".
func (s *conformService) stream(stream grpc.ServerStream) error {
	s.begin(stream.Context(), stream.SetHeader, func(m metadata.MD) error { stream.SetTrailer(m); return nil })
	for {
		var in text
		if err := stream.RecvMsg(&in); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			s.ended <- err
			return err
		}
		if err := stream.SendMsg(wrapperspb.String("echo " + in.GetValue())); err != nil {
			return err
		}
		if in.GetValue() == "wait" {
			s.waiting <- struct{}{}
			<-stream.Context().Done()
			s.ended <- stream.Context().Err()
			return status.FromContextError(stream.Context().Err()).Err()
		}
	}
}

// gather answers all messages of the client with one.
func (s *conformService) gather(stream grpc.ServerStream) error {
	s.begin(stream.Context(), stream.SetHeader, func(m metadata.MD) error { stream.SetTrailer(m); return nil })
	var all strings.Builder
	for {
		var in text
		if err := stream.RecvMsg(&in); errors.Is(err, io.EOF) {
			return stream.SendMsg(wrapperspb.String(all.String()))
		} else if err != nil {
			return err
		}
		all.WriteString(in.GetValue())
	}
}

// spread answers one message with three, and a status in the end.
func (s *conformService) spread(stream grpc.ServerStream) error {
	s.begin(stream.Context(), stream.SetHeader, func(m metadata.MD) error { stream.SetTrailer(m); return nil })
	var in text
	if err := stream.RecvMsg(&in); err != nil {
		return err
	}
	for range 3 {
		if err := stream.SendMsg(wrapperspb.String("echo " + in.GetValue())); err != nil {
			return err
		}
	}
	if in.GetValue() == "fail" {
		return status.Error(codes.Aborted, "in the middle")
	}
	return nil
}

func (s *conformService) describe() *grpc.ServiceDesc {
	streams := func(f func(grpc.ServerStream) error) grpc.StreamHandler {
		return func(_ any, stream grpc.ServerStream) error { return f(stream) }
	}
	return &grpc.ServiceDesc{ServiceName: "conform.Echo", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Unary", Handler: func(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			var in text
			if err := decode(&in); err != nil {
				return nil, err
			}
			return s.unary(ctx, &in)
		}}},
		Streams: []grpc.StreamDesc{
			{StreamName: "Gather", Handler: streams(s.gather), ClientStreams: true},
			{StreamName: "Spread", Handler: streams(s.spread), ServerStreams: true},
			{StreamName: "Both", Handler: streams(s.stream), ClientStreams: true, ServerStreams: true},
		}}
}

const largest = 32 << 20 // bytes of a message in these tests

// startGRPC serves the test service through the proxy. Calls of claimed methods are
// reads, whose clients may take them back; "/unclaimed" services are not known.
func (c pairing) startGRPC(t *testing.T, class capability.Class) (*rig, *grpc.ClientConn, *conformService) {
	t.Helper()
	service := newConformService()
	certificate := testCertificate(t)
	options := []grpc.ServerOption{grpc.MaxRecvMsgSize(largest), grpc.MaxSendMsgSize(largest)}
	scheme := "http://"
	if c.back.tls {
		pair, err := credentials.NewServerTLSFromFile(certificate.files.Certificate, certificate.files.Key)
		if err != nil {
			t.Fatal(err)
		}
		options, scheme = append(options, grpc.Creds(pair)), "https://"
	}
	server := grpc.NewServer(options...)
	server.RegisterService(service.describe(), nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() { server.Stop(); <-served })
	r := c.before(t, nil, scheme+l.Addr().String(), func(_ *Options, d *capability.Document) {
		d.Routes = []capability.Route{{Path: "/conform.Echo/**", Class: class, Line: 3}}
	})
	transport := insecure.NewCredentials()
	if c.front.tls {
		transport = credentials.NewTLS(&tls.Config{RootCAs: certificate.roots, MinVersion: tls.VersionTLS12})
	}
	conn, err := grpc.NewClient("passthrough:///"+r.address, grpc.WithTransportCredentials(transport),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(largest), grpc.MaxCallSendMsgSize(largest)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return r, conn, service
}

// overHTTP2 are the cells that gRPC can use, which is HTTP/2 from end to end.
func overHTTP2(c pairing) bool { return c.front.major == 2 && c.back.major == 2 }
