// SPDX-License-Identifier: Apache-2.0

// Command hello is the lab's image for two architectures: it says where it runs and stays.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
)

func main() {
	fmt.Printf("hello from the kpack lab on %s/%s\n", runtime.GOOS, runtime.GOARCH)
	if len(os.Args) > 1 && os.Args[1] == "once" {
		return
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	<-stop
}
