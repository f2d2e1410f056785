// What `npm run bench -- gateway` needs beside Envoy and the gateway: a minimal ext_proc server to compare with, engines that answer at once,
// and a client that sends requests and counts what comes back. Engines and client speak plain HTTP/1.1 by hand, so that on few cores they
// take as little as can be of what is measured.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
)

func main() {
	commands := map[string]func([]string) error{"extproc": extProc, "upstream": upstream, "load": load}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: gateway-bench extproc|upstream|load [flags]")
		os.Exit(2)
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// say writes one line of JSON, which whoever started this process reads.
func say(value any) error {
	return json.NewEncoder(os.Stdout).Encode(value)
}

// endWithParent ends this process when the one that started it is gone, however it went.
func endWithParent() {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
}
