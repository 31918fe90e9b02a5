// SPDX-License-Identifier: Apache-2.0

// Command hello is the lab's image for two architectures: it says where it runs and stays. "hello serve"
// answers HTTP on port 8080 until SIGTERM, ending the requests that it has begun.
package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

func serve(stop <-chan os.Signal) {
	name, _ := os.Hostname()
	server := &http.Server{Addr: ":8080", Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "hello from %s\n", name)
	})}
	go func() {
		if err := server.ListenAndServe(); err != http.ErrServerClosed {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}()
	<-stop
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_ = server.Shutdown(ctx)
}

func main() {
	fmt.Printf("hello from the kpack lab on %s/%s\n", runtime.GOOS, runtime.GOARCH)
	if len(os.Args) > 1 && os.Args[1] == "once" {
		return
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	if len(os.Args) > 1 && os.Args[1] == "serve" {
		serve(stop)
		return
	}
	<-stop
}
