// Copyright: (c) 2026, the bare_metal.kubernetes maintainers
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Command echo-server is the workload that proves a cluster: it says over HTTP who answered and who asked, and, run in
// its own pod by `kubectl exec`, it asks DNS and other servers, so that an image without a shell is enough.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
)

const usage = `usage:
  echo-server [serve] [--listen :8080]           answer HTTP: / as JSON, /healthz
  echo-server resolve [--timeout 5s] NAME...     look names up, one line each: NAME ADDRESS...
  echo-server get [--timeout 5s] URL...          fetch URLs; prints the bodies, fails unless every status is 2xx
  echo-server probe [--timeout 5s] TARGET...     ask all at once (dns:NAME or a URL) and print what came back, as JSON
`

// answer is what / returns: the pod that answers and the client as it sees it.
type answer struct {
	Hostname string   `json:"hostname"`
	Pod      string   `json:"pod"`
	Node     string   `json:"node"`
	PodIPs   []string `json:"pod_ips"`
	Client   string   `json:"client"`
	Host     string   `json:"host"`
	Path     string   `json:"path"`
}

// podAddresses are the addresses of this pod, as its own interfaces have them.
func podAddresses() []string {
	addresses := []string{}
	found, err := net.InterfaceAddrs()
	if err != nil {
		return addresses
	}
	for _, address := range found {
		network, isNetwork := address.(*net.IPNet)
		if isNetwork && network.IP.IsGlobalUnicast() {
			addresses = append(addresses, network.IP.String())
		}
	}
	return addresses
}

func handler() http.Handler {
	hostname, _ := os.Hostname()
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(response http.ResponseWriter, _ *http.Request) {
		response.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintln(response, "ok")
	})
	mux.HandleFunc("/", func(response http.ResponseWriter, request *http.Request) {
		client, _, err := net.SplitHostPort(request.RemoteAddr)
		if err != nil {
			client = request.RemoteAddr
		}
		response.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(response).Encode(answer{
			Hostname: hostname,
			Pod:      os.Getenv("POD_NAME"),
			Node:     os.Getenv("NODE_NAME"),
			PodIPs:   podAddresses(),
			Client:   client,
			Host:     request.Host,
			Path:     request.URL.Path,
		})
	})
	return mux
}

func serve(arguments []string) error {
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	listen := flags.String("listen", ":8080", "address to listen on")
	_ = flags.Parse(arguments)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	server := &http.Server{Addr: *listen, Handler: handler(), ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	fmt.Printf("echo-server: listening on %s\n", *listen)
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	ending, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return server.Shutdown(ending)
}

// each parses --timeout, then calls ask for every remaining argument and joins the errors.
func each(name string, arguments []string, ask func(context.Context, string) error) error {
	flags := flag.NewFlagSet(name, flag.ExitOnError)
	timeout := flags.Duration("timeout", 5*time.Second, "time limit for one question")
	_ = flags.Parse(arguments)
	if flags.NArg() == 0 {
		return fmt.Errorf("%s: nothing to ask\n%s", name, usage)
	}
	var failures []error
	for _, question := range flags.Args() {
		ctx, cancel := context.WithTimeout(context.Background(), *timeout)
		if err := ask(ctx, question); err != nil {
			failures = append(failures, fmt.Errorf("%s %s: %w", name, question, err))
		}
		cancel()
	}
	return errors.Join(failures...)
}

func resolve(ctx context.Context, name string) error {
	addresses, err := net.DefaultResolver.LookupHost(ctx, name)
	if err != nil {
		return err
	}
	fmt.Print(name)
	for _, address := range addresses {
		fmt.Print(" ", address)
	}
	fmt.Println()
	return nil
}

func get(ctx context.Context, url string) error {
	return fetch(ctx, url, os.Stdout)
}

func fetch(ctx context.Context, url string, body io.Writer) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	// A new connection for each question, and no proxy: the path through the cluster's network is what is asked.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(body, io.LimitReader(response.Body, 1<<20)); err != nil {
		return err
	}
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("status %s", response.Status)
	}
	return nil
}

// outcome is what one question of probe came to.
type outcome struct {
	Target       string  `json:"target"`
	OK           bool    `json:"ok"`
	Milliseconds float64 `json:"milliseconds"`
	Answer       string  `json:"answer"`
	Error        string  `json:"error"`
}

// ask answers one question of probe: dns:NAME is looked up, anything else is fetched.
func ask(ctx context.Context, target string) (string, error) {
	if name, isName := strings.CutPrefix(target, "dns:"); isName {
		addresses, err := net.DefaultResolver.LookupHost(ctx, name)
		return strings.Join(addresses, " "), err
	}
	var body strings.Builder
	err := fetch(ctx, target, &body)
	return strings.TrimSpace(body.String()), err
}

// probe asks everything at once and always succeeds: judging is the caller's.
func probe(arguments []string) error {
	flags := flag.NewFlagSet("probe", flag.ExitOnError)
	timeout := flags.Duration("timeout", 5*time.Second, "time limit for each question")
	_ = flags.Parse(arguments)
	outcomes := make([]outcome, flags.NArg())
	var waiting sync.WaitGroup
	for index, target := range flags.Args() {
		waiting.Add(1)
		go func() {
			defer waiting.Done()
			ctx, cancel := context.WithTimeout(context.Background(), *timeout)
			defer cancel()
			begun := time.Now()
			answer, err := ask(ctx, target)
			outcomes[index] = outcome{Target: target, OK: err == nil, Answer: answer}
			outcomes[index].Milliseconds = float64(time.Since(begun).Microseconds()) / 1000
			if err != nil {
				outcomes[index].Error = err.Error()
			}
		}()
	}
	waiting.Wait()
	return json.NewEncoder(os.Stdout).Encode(outcomes)
}

func main() {
	command, arguments := "serve", os.Args[1:]
	if len(arguments) > 0 && arguments[0] != "" && arguments[0][0] != '-' {
		command, arguments = arguments[0], arguments[1:]
	}
	var err error
	switch command {
	case "serve":
		err = serve(arguments)
	case "resolve":
		err = each("resolve", arguments, resolve)
	case "get":
		err = each("get", arguments, get)
	case "probe":
		err = probe(arguments)
	default:
		err = fmt.Errorf("unknown command %q\n%s", command, usage)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "echo-server:", err)
		os.Exit(1)
	}
}
