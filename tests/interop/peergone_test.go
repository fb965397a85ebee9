// SPDX-License-Identifier: BSD-3-Clause

package interop

import (
	"strings"
	"testing"
	"time"

	"tailscale.com/derp"
	"tailscale.com/types/key"
)

func TestPeerGoneWhenAPeerLeaves(t *testing.T) {
	t.Parallel()
	r := startRelay(t, setup{})
	clients := onTwoWorkers(t, r)
	leaver, told := clients[0], clients[len(clients)-1]
	bystander := r.connect(t)

	leaver.send(told.pub, "hello")
	told.expectPacket(leaver.pub, "hello")
	bystander.send(leaver.pub, "I have only sent")
	leaver.expectPacket(bystander.pub, "I have only sent")

	leaver.Close()
	told.expectGone(leaver.pub, derp.PeerGoneReasonDisconnected)
	told.expectQuiet()
	bystander.expectQuiet()
	r.waitMetric(t, "derp_peer_gone_disconnected_frames", 1)
}

func TestPeerGoneNotHere(t *testing.T) {
	t.Parallel()
	r := startRelay(t, setup{})

	t.Run("for a packet that looks like disco", func(t *testing.T) {
		c, stranger := r.connect(t), key.NewNode().Public()
		c.send(stranger, discoPacket())
		c.expectGone(stranger, derp.PeerGoneReasonNotHere)
	})
	t.Run("for nothing else", func(t *testing.T) {
		c, stranger := r.connect(t), key.NewNode().Public()
		disco := discoPacket()
		for _, other := range []string{
			"",
			"hello",
			disco[:len(disco)-1],
			"X" + disco[1:],
			strings.Repeat("T", len(disco)),
		} {
			c.send(stranger, other)
		}
		c.expectQuiet()
	})
	t.Run("is counted", func(t *testing.T) {
		for name, want := range map[string]float64{
			"derp_peer_gone_not_here_frames":                                1,
			`derp_packets_dropped{kind="disco",reason="unknown_dest"}`:      1,
			`derp_packets_dropped{kind="other",reason="unknown_dest"}`:      5,
			`derp_packets_dropped{kind="other",reason="gone_disconnected"}`: 0,
			`derp_packets_received_kind{kind="disco"}`:                      1,
			`derp_packets_received_kind{kind="other"}`:                      5,
			"derp_peer_gone_disconnected_frames":                            0,
		} {
			r.waitMetric(t, name, want)
		}
	})
}

// TestPeerGoneNotHereIsLimited shows the limit of one a second after three at
// once, for each sender by itself.
func TestPeerGoneNotHereIsLimited(t *testing.T) {
	t.Parallel()
	r := startRelay(t, setup{})
	c := r.connect(t)

	start := time.Now()
	for range 50 {
		c.send(key.NewNode().Public(), discoPacket())
	}
	for range 3 {
		expectNotHere(t, c)
	}
	allowed := 3 + int(time.Since(start)/time.Second)
	r.waitQuietNotHere(t, float64(allowed))

	other := r.connect(t)
	other.send(key.NewNode().Public(), discoPacket())
	expectNotHere(t, other)

	waitFor(t, "the limit to allow another", func() bool {
		c.send(key.NewNode().Public(), discoPacket())
		return len(c.msgs) > 0
	})
	expectNotHere(t, c)
	if passed := time.Since(start); passed < 900*time.Millisecond {
		t.Errorf("the fourth came after %v", passed)
	}
}

func expectNotHere(t *testing.T, c *client) {
	t.Helper()
	m, ok := c.next().(derp.PeerGoneMessage)
	if !ok || m.Reason != derp.PeerGoneReasonNotHere {
		t.Fatalf("got %s, want a PeerGone for a peer that is not here", describe(m))
	}
}

// waitQuietNotHere checks that no more than the allowed frames were sent.
func (r *relay) waitQuietNotHere(t *testing.T, allowed float64) {
	t.Helper()
	if got := r.metric("derp_peer_gone_not_here_frames"); got > allowed {
		t.Fatalf("%v frames were sent, want at most %v", got, allowed)
	}
}
