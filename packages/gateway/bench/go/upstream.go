package main

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"net"
	"strconv"
	"sync/atomic"
	"time"
)

// The header of an answer that says which engine gave it.
const engineHeader = "x-bench-engine"

const bufferBytes = 64 << 10

// How engines answer.
type answers struct {
	chunks int
	// Between two chunks of an event stream.
	pause time.Duration
}

// upstream runs engines that answer every request at once: with JSON, or with server-sent events where the request asks for `text/event-stream`.
func upstream(args []string) error {
	flags := flag.NewFlagSet("upstream", flag.ExitOnError)
	engines := flags.Int("engines", 50, "how many")
	var a answers
	flags.IntVar(&a.chunks, "chunks", 50, "of an event stream")
	flags.DurationVar(&a.pause, "pause", 0, "between two chunks")
	_ = flags.Parse(args)
	endWithParent()
	ports := make([]int, *engines)
	for i := range ports {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		ports[i] = listener.Addr().(*net.TCPAddr).Port
		go accept(listener, newEngine(i, a))
	}
	if err := say(map[string][]int{"ports": ports}); err != nil {
		return err
	}
	select {}
}

type engine struct {
	answers
	json, head, chunk, end []byte
	// What runs now, as vLLM tells it at /metrics.
	running atomic.Int64
}

// A page of vLLM's has some hundred KB, nearly all of it buckets of histograms; what is asked for is in its middle. With a slash at the end it takes
// names, and gives that alone.
var buckets = func() []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < 50<<10; i++ {
		fmt.Fprintf(&b, "vllm:request_prefill_time_seconds_bucket{engine=\"0\",le=\"%d.0\",model_name=\"qwen-coder-1-5b-instruct\"} %d.0\n", i, 1000+i)
	}
	return b.Bytes()
}()

func (e *engine) writeMetrics(conn net.Conn, named bool) error {
	const gauge = "vllm:num_requests_%s{engine=\"0\",model_name=\"qwen-coder-1-5b-instruct\"} %d.0\n"
	counts := fmt.Sprintf(gauge+gauge, "running", e.running.Load(), "waiting", 0)
	around := buckets
	if named {
		around = nil
	}
	page := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: %d\r\n\r\n", 2*len(around)+len(counts))
	page = append(append(append(page, around...), counts...), around...)
	_, err := conn.Write(page)
	return err
}

func newEngine(index int, a answers) *engine {
	body := `{"id":"chatcmpl-0","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"ok"},"finish_reason":"stop"}]}`
	data := `data: {"id":"chatcmpl-0","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"token"}}]}` + "\n\n"
	done := "data: [DONE]\n\n"
	common := "HTTP/1.1 200 OK\r\n" + engineHeader + ": " + strconv.Itoa(index) + "\r\n"
	return &engine{
		answers: a,
		json:    fmt.Appendf(nil, "%scontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s", common, len(body), body),
		head:    []byte(common + "content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"),
		chunk:   fmt.Appendf(nil, "%x\r\n%s\r\n", len(data), data),
		end:     fmt.Appendf(nil, "%x\r\n%s\r\n0\r\n\r\n", len(done), done),
	}
}

func accept(listener net.Listener, e *engine) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go e.serve(conn)
	}
}

func (e *engine) serve(conn net.Conn) {
	defer conn.Close()
	// Small until a body comes: ten thousand streams are held at once.
	reader := bufio.NewReaderSize(conn, 4096)
	for {
		request, err := readHead(reader)
		if err != nil {
			return
		}
		if _, err := reader.Discard(request.contentLength); err != nil {
			return
		}
		if err := e.answer(conn, request); err != nil {
			return
		}
	}
}

func (e *engine) answer(conn net.Conn, request head) error {
	if request.metrics {
		return e.writeMetrics(conn, request.named)
	}
	e.running.Add(1)
	defer e.running.Add(-1)
	if request.stream {
		return e.writeEvents(conn)
	}
	_, err := conn.Write(e.json)
	return err
}

// Each chunk is written by itself, as an engine does.
func (e *engine) writeEvents(conn net.Conn) error {
	if _, err := conn.Write(e.head); err != nil {
		return err
	}
	for i := range e.chunks {
		if i > 0 && e.pause > 0 {
			time.Sleep(e.pause)
		}
		if _, err := conn.Write(e.chunk); err != nil {
			return err
		}
	}
	_, err := conn.Write(e.end)
	return err
}

// What counts of the first lines of a request or an answer.
type head struct {
	status        int
	contentLength int
	chunked       bool
	stream        bool
	metrics       bool
	named         bool
	engine        int
}

var (
	crlf           = []byte("\r\n")
	contentLength  = []byte("content-length")
	transferCoding = []byte("transfer-encoding")
	acceptHeader   = []byte("accept")
	engineName     = []byte(engineHeader)
	eventStream    = []byte("text/event-stream")
	chunkedCoding  = []byte("chunked")
)

// readHead reads up to the empty line. Envoy writes names in small letters.
func readHead(reader *bufio.Reader) (head, error) {
	h := head{engine: -1}
	first, err := reader.ReadSlice('\n')
	if err != nil {
		return h, err
	}
	if len(first) > 12 && bytes.HasPrefix(first, []byte("HTTP/1.1 ")) {
		h.status = number(first[9:12])
	}
	h.named = bytes.HasPrefix(first, []byte("GET /metrics/?name"))
	h.metrics = h.named || bytes.HasPrefix(first, []byte("GET /metrics "))
	for {
		line, err := reader.ReadSlice('\n')
		if err != nil {
			return h, err
		}
		line = bytes.TrimSuffix(line, crlf)
		if len(line) == 0 {
			return h, nil
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case bytes.Equal(name, contentLength):
			h.contentLength = number(value)
		case bytes.Equal(name, transferCoding):
			h.chunked = bytes.Equal(value, chunkedCoding)
		case bytes.Equal(name, acceptHeader):
			h.stream = bytes.Equal(value, eventStream)
		case bytes.Equal(name, engineName):
			h.engine = number(value)
		}
	}
}

func number(digits []byte) int {
	n := 0
	for _, digit := range digits {
		n = n*10 + int(digit-'0')
	}
	return n
}
