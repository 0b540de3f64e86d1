// What a Pod's sandbox runs: it holds the Pod's namespaces, buries whoever dies in them, and goes when it is told to.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ends := make(chan os.Signal, 1)
	signal.Notify(ends, syscall.SIGTERM, syscall.SIGINT)
	deaths := make(chan os.Signal, 8)
	signal.Notify(deaths, syscall.SIGCHLD)
	for {
		select {
		case <-ends:
			return
		case <-deaths:
			for {
				if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
					break
				}
			}
		}
	}
}
