// Copyright: (c) 2026, the bare_metal.kubernetes maintainers
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Command pause holds a pod's namespaces: it sleeps until it is told to stop, and reaps the children that end up with
// it when the pod shares one process namespace.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// reap collects every child that has ended, without waiting for one that has not.
func reap() {
	for {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if pid <= 0 || err != nil {
			return
		}
	}
}

func main() {
	if len(os.Args) > 1 && (os.Args[1] == "-v" || os.Args[1] == "--version") {
		fmt.Println("pause (bare_metal.kubernetes)")
		return
	}
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "pause: not process 1: the children of a shared process namespace will not be reaped")
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	reap() // those that ended before the signals were caught
	for received := range signals {
		if received != syscall.SIGCHLD {
			return
		}
		reap()
	}
}
