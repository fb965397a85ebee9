// SPDX-License-Identifier: BSD-3-Clause

package interop

import (
	"syscall"
	"testing"
	"time"

	"tailscale.com/types/key"
)

// TestClientsComeBackAfterARestart uses the reconnecting that Tailscale's
// client does by itself, with the same keys and the same pin.
func TestClientsComeBackAfterARestart(t *testing.T) {
	t.Parallel()
	for _, plain := range []bool{false, true} {
		name := "TLS"
		if plain {
			name = "plain"
		}
		t.Run(name, func(t *testing.T) {
			r := startRelay(t, setup{plain: plain})
			a, b := r.connect(t), r.connect(t)
			a.send(b.pub, "before")
			b.expectPacket(a.pub, "before")
			serverKey := a.ServerPublicKey()

			r.restart()
			a.waitReconnect()
			b.waitReconnect()
			if got := a.ServerPublicKey(); got != serverKey {
				t.Errorf("the key changed from %v to %v", serverKey, got)
			}
			b.send(a.pub, "after")
			a.expectPacket(b.pub, "after")
		})
	}
}

// waitReconnect skips what tells of the lost connection.
func (c *client) waitReconnect() {
	c.t.Helper()
	sawLost := false
	for {
		m := c.next()
		if _, ok := m.(lost); ok {
			sawLost = true
			continue
		}
		if !sawLost {
			continue // from before the restart
		}
		c.msgs <- m
		c.waitLogin()
		return
	}
}

func TestStop(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		signal syscall.Signal
	}{{"SIGTERM", syscall.SIGTERM}, {"SIGINT", syscall.SIGINT}} {
		t.Run(test.name, func(t *testing.T) {
			r := startRelay(t, setup{})
			c := r.connect(t)
			raw := r.loginRaw(t, key.NewNode())
			half := r.dialRaw(t)
			half.write([]byte("GET /derp HT"))

			start := time.Now()
			if err := r.cmd.Process.Signal(test.signal); err != nil {
				t.Fatal(err)
			}
			if code := r.waitExit(); code != 0 {
				t.Fatalf("exit status %d", code)
			}
			t.Logf("ended after %v", time.Since(start).Round(time.Millisecond))
			for {
				if _, _, err := raw.readFrame(); err != nil {
					break
				}
			}
			c.waitLost()
			if !portIsFree(r.port) || !portIsFree(r.stunPort) {
				t.Error("a port is still in use")
			}
		})
	}
}

func (c *client) waitLost() {
	c.t.Helper()
	for {
		if _, ok := c.next().(lost); ok {
			return
		}
	}
}
