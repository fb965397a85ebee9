// SPDX-License-Identifier: BSD-3-Clause

package interop

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

var ports struct {
	mu   sync.Mutex
	used map[int]bool
}

// freePort returns a port that is free for TCP and UDP and was not handed out
// before. It stays below the range that the kernel picks outgoing ports from,
// as relays that share ports among workers would not notice a second owner.
func freePort(t *testing.T) int {
	t.Helper()
	ports.mu.Lock()
	defer ports.mu.Unlock()
	if ports.used == nil {
		ports.used = make(map[int]bool)
	}
	for range 1000 {
		port := 20000 + rand.IntN(12000)
		if !ports.used[port] && portIsFree(port) {
			ports.used[port] = true
			return port
		}
	}
	t.Fatal("no free port found")
	return 0
}

func portIsFree(port int) bool {
	for _, host := range []string{"127.0.0.1", ""} {
		ln, err := net.Listen("tcp", fmt.Sprintf("%s:%d", host, port))
		if err != nil {
			return false
		}
		ln.Close()
		pc, err := net.ListenPacket("udp", fmt.Sprintf("%s:%d", host, port))
		if err != nil {
			return false
		}
		pc.Close()
	}
	return true
}
