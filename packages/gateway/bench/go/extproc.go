package main

import (
	"encoding/json"
	"flag"
	"io"
	"net"
	"strings"
	"sync/atomic"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Above what Envoy buffers; gRPC's default is 4 MiB.
const maxMessageBytes = 48 << 20

// The least that a router by model has to do: read the buffered body's model, name an engine. It looks nothing up, and takes the engines in
// turn.
type server struct {
	extprocv3.UnimplementedExternalProcessorServer
	destinationHeader string
	engines           []string
	next              atomic.Uint64
}

func extProc(args []string) error {
	flags := flag.NewFlagSet("extproc", flag.ExitOnError)
	header := flags.String("header", "", "header that names the engine")
	engines := flags.String("engines", "", "ip:port,ip:port…")
	_ = flags.Parse(args)
	endWithParent()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s := grpc.NewServer(grpc.MaxRecvMsgSize(maxMessageBytes))
	extprocv3.RegisterExternalProcessorServer(s, &server{destinationHeader: *header, engines: strings.Split(*engines, ",")})
	if err := say(map[string]int{"port": listener.Addr().(*net.TCPAddr).Port}); err != nil {
		return err
	}
	return s.Serve(listener)
}

func (s *server) Process(stream extprocv3.ExternalProcessor_ProcessServer) error {
	for {
		request, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		response, err := s.answer(request)
		if err != nil {
			return err
		}
		if err := stream.Send(response); err != nil {
			return err
		}
	}
}

func (s *server) answer(request *extprocv3.ProcessingRequest) (*extprocv3.ProcessingResponse, error) {
	switch r := request.Request.(type) {
	case *extprocv3.ProcessingRequest_RequestHeaders:
		return &extprocv3.ProcessingResponse{
			Response: &extprocv3.ProcessingResponse_RequestHeaders{RequestHeaders: &extprocv3.HeadersResponse{}},
		}, nil
	case *extprocv3.ProcessingRequest_RequestBody:
		return s.route(r.RequestBody.Body), nil
	default:
		return nil, status.Errorf(codes.Unimplemented, "%T", r)
	}
}

func (s *server) route(body []byte) *extprocv3.ProcessingResponse {
	var request struct {
		Model string `json:"model"`
	}
	if err := json.Unmarshal(body, &request); err != nil || request.Model == "" {
		return &extprocv3.ProcessingResponse{
			Response: &extprocv3.ProcessingResponse_ImmediateResponse{
				ImmediateResponse: &extprocv3.ImmediateResponse{Status: &typev3.HttpStatus{Code: typev3.StatusCode_BadRequest}},
			},
		}
	}
	engine := s.engines[s.next.Add(1)%uint64(len(s.engines))]
	return &extprocv3.ProcessingResponse{
		Response: &extprocv3.ProcessingResponse_RequestBody{
			RequestBody: &extprocv3.BodyResponse{
				Response: &extprocv3.CommonResponse{
					HeaderMutation: &extprocv3.HeaderMutation{
						SetHeaders: []*corev3.HeaderValueOption{{
							Header:       &corev3.HeaderValue{Key: s.destinationHeader, RawValue: []byte(engine)},
							AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
						}},
					},
					ClearRouteCache: true,
				},
			},
		},
	}
}
