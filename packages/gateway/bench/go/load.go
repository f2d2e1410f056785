package main

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/bits"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Where a body's file has the model's name.
const placeholder = "adapter-00000"

// A request that gets no answer for so long has failed.
const requestTimeout = 30 * time.Second

type loadOptions struct {
	address     string
	template    []byte
	concurrency int
	requests    int64
	duration    time.Duration
	rate        int
	stream      bool
	hold        bool
	adapters    int
	first       int
	engines     int
	copies      int
	checkEngine bool
}

// A result is one line of JSON.
type result struct {
	Requests int64   `json:"requests"`
	Seconds  float64 `json:"seconds"`
	// How many times what went wrong.
	Failures map[string]int64 `json:"failures"`
	// Least latency of a bucket in microseconds, and how many requests took that long.
	Latencies [][2]int64 `json:"latencies"`
}

// load sends requests: so many at a time, each when the one before is answered; or at a rate, whatever the answers do, and then a latency
// counts from when the request was due.
func load(args []string) error {
	flags := flag.NewFlagSet("load", flag.ExitOnError)
	var o loadOptions
	flags.StringVar(&o.address, "to", "", "ip:port")
	body := flags.String("body", "", "file with the body, which holds "+placeholder)
	flags.IntVar(&o.concurrency, "concurrency", 1, "connections")
	flags.Int64Var(&o.requests, "requests", 0, "how many; 0: until the duration is over")
	flags.DurationVar(&o.duration, "duration", 10*time.Minute, "at most")
	flags.IntVar(&o.rate, "rate", 0, "requests per second; 0: as fast as answers come")
	flags.BoolVar(&o.stream, "stream", false, "ask for an event stream")
	flags.BoolVar(&o.hold, "hold", false, "every connection sends one request; say when all have an answer's beginning")
	flags.IntVar(&o.adapters, "adapters", 1, "how many adapters are asked for")
	flags.IntVar(&o.first, "first", 0, "the first one's number")
	flags.IntVar(&o.engines, "engines", 1, "how many engines there are")
	flags.IntVar(&o.copies, "copies", 1, "how many engines have an adapter")
	flags.BoolVar(&o.checkEngine, "check-engine", false, "an answer of an engine without the adapter is a failure")
	_ = flags.Parse(args)
	endWithParent()
	var err error
	if o.template, err = os.ReadFile(*body); err != nil {
		return err
	}
	if bytes.Count(o.template, []byte(placeholder)) != 1 {
		return fmt.Errorf("%s does not hold %s once", *body, placeholder)
	}
	r, err := run(o)
	if err != nil {
		return err
	}
	return say(r)
}

func run(o loadOptions) (result, error) {
	if o.hold {
		return hold(o)
	}
	var due chan time.Time
	deadline := time.Now().Add(o.duration)
	if o.rate > 0 {
		due = make(chan time.Time, o.rate*int(o.duration.Seconds()+1))
		go pace(o.rate, deadline, due)
	}
	var taken atomic.Int64
	clients := make([]*client, o.concurrency)
	start := time.Now()
	var all sync.WaitGroup
	for i := range clients {
		c := newClient(o, i)
		clients[i] = c
		all.Go(func() { c.work(&taken, deadline, due) })
	}
	all.Wait()
	return sum(clients, time.Since(start)), nil
}

func pace(rate int, deadline time.Time, due chan<- time.Time) {
	defer close(due)
	gap := time.Second / time.Duration(rate)
	for at := time.Now(); at.Before(deadline); at = at.Add(gap) {
		time.Sleep(time.Until(at))
		due <- at
	}
}

// hold opens all streams, says so, and waits for their ends.
func hold(o loadOptions) (result, error) {
	start := time.Now()
	clients := make([]*client, o.concurrency)
	var all, begun sync.WaitGroup
	// As many as Envoy's listeners accept at once.
	opening := make(chan struct{}, 64)
	for i := range clients {
		c := newClient(o, i)
		clients[i] = c
		begun.Add(1)
		all.Go(func() {
			opening <- struct{}{}
			began := func() {
				<-opening
				begun.Done()
			}
			c.once(time.Now(), &began)
			if began != nil {
				began()
			}
		})
	}
	begun.Wait()
	if err := say(map[string]float64{"heldAfterSeconds": time.Since(start).Seconds()}); err != nil {
		return result{}, err
	}
	all.Wait()
	return sum(clients, time.Since(start)), nil
}

type client struct {
	loadOptions
	conn     net.Conn
	reader   *bufio.Reader
	request  []byte
	model    []byte
	sent     int64
	adapter  int
	failures map[string]int64
	counts   map[int64]int64
}

func newClient(o loadOptions, index int) *client {
	accepted := "application/json"
	if o.stream {
		accepted = string(eventStream)
	}
	request := fmt.Appendf(nil, "POST /v1/chat/completions HTTP/1.1\r\nhost: %s\r\naccept: %s\r\ncontent-type: application/json\r\n"+
		"user-agent: OpenAI/Python 2.0.0\r\nauthorization: Bearer sk-none\r\ncontent-length: %d\r\n\r\n", o.address, accepted, len(o.template))
	request = append(request, o.template...)
	at := bytes.Index(request, []byte(placeholder))
	return &client{
		loadOptions: o,
		request:     request,
		model:       request[at : at+len(placeholder)],
		// Not all begin with the same one.
		adapter:  index * 7 % o.adapters,
		failures: map[string]int64{},
		counts:   map[int64]int64{},
	}
}

func (c *client) work(taken *atomic.Int64, deadline time.Time, due <-chan time.Time) {
	defer c.close()
	for {
		at := time.Now()
		if due != nil {
			var open bool
			if at, open = <-due; !open {
				return
			}
		} else if !at.Before(deadline) || (c.requests > 0 && taken.Add(1) > c.requests) {
			return
		}
		c.once(at, nil)
	}
}

// once sends a request and reads its answer to the end. began is called, and cleared, when the first bytes are there.
func (c *client) once(at time.Time, began *func()) {
	c.adapter = (c.adapter + 1) % c.adapters
	adapter := c.first + c.adapter
	copy(c.model[len("adapter-"):], fmt.Appendf(nil, "%05d", adapter))
	c.sent++
	if err := c.exchange(adapter, began); err != nil {
		c.failures[err.Error()]++
		c.close()
		return
	}
	c.counts[bucket(time.Since(at).Microseconds())]++
}

func (c *client) exchange(adapter int, began *func()) error {
	if c.conn == nil {
		conn, err := net.DialTimeout("tcp", c.address, requestTimeout)
		if err != nil {
			return errors.New("cannot connect")
		}
		c.conn = conn
		size := bufferBytes
		if c.hold {
			size = 4096
		}
		c.reader = bufio.NewReaderSize(conn, size)
	}
	timeout := requestTimeout
	if c.hold {
		timeout = c.duration
	}
	_ = c.conn.SetDeadline(time.Now().Add(timeout))
	if _, err := c.conn.Write(c.request); err != nil {
		return errors.New("cannot write")
	}
	h, err := readHead(c.reader)
	if err != nil {
		return errors.New("no answer")
	}
	if began != nil {
		(*began)()
		*began = nil
	}
	if h.chunked {
		err = discardChunks(c.reader)
	} else {
		_, err = c.reader.Discard(h.contentLength)
	}
	switch {
	case err != nil:
		return errors.New("the answer was cut")
	case h.status != 200:
		return errors.New("HTTP " + strconv.Itoa(h.status))
	case c.checkEngine && !has(h.engine, adapter, c.engines, c.copies):
		return errors.New("an engine without the adapter")
	}
	return nil
}

func (c *client) close() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

func discardChunks(reader *bufio.Reader) error {
	for {
		line, err := reader.ReadSlice('\n')
		if err != nil {
			return err
		}
		size, err := strconv.ParseUint(string(bytes.TrimSuffix(line, crlf)), 16, 31)
		if err != nil {
			return err
		}
		if _, err := reader.Discard(int(size) + len(crlf)); err != nil {
			return err
		}
		if size == 0 {
			return nil
		}
	}
}

// has says whether an engine has an adapter: an adapter is on the engine of its number and on those after it. main.ts knows the same rule.
func has(engine, adapter, engines, copies int) bool {
	return engine >= 0 && (engine-adapter%engines+engines)%engines < copies
}

// bucket rounds down to seven bits: to less than one percent.
func bucket(us int64) int64 {
	shift := bits.Len64(uint64(us)) - 7
	if shift <= 0 {
		return us
	}
	return us >> shift << shift
}

func sum(clients []*client, took time.Duration) result {
	r := result{Seconds: took.Seconds(), Failures: map[string]int64{}, Latencies: [][2]int64{}}
	counts := map[int64]int64{}
	for _, c := range clients {
		r.Requests += c.sent
		for what, n := range c.failures {
			r.Failures[what] += n
		}
		for us, n := range c.counts {
			counts[us] += n
		}
	}
	for us, n := range counts {
		r.Latencies = append(r.Latencies, [2]int64{us, n})
	}
	return r
}
