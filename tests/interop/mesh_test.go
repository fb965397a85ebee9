// SPDX-License-Identifier: BSD-3-Clause

package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tailscale.com/derp"
	"tailscale.com/types/key"
)

const testMeshKey = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

// withMeshKey returns a setup of a relay that knows testMeshKey.
func withMeshKey(t *testing.T, s setup) setup {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mesh.key")
	if err := os.WriteFile(path, []byte(testMeshKey+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.args = append(s.args, "--mesh-psk-file", path)
	return s
}

// watch returns a client that has asked for all connections.
func (r *relay) watch(t *testing.T, meshKey string) *client {
	t.Helper()
	parsed, err := key.ParseDERPMesh(meshKey)
	if err != nil {
		t.Fatal(err)
	}
	priv := key.NewNode()
	c := r.newClient(t, priv)
	c.MeshKey = parsed
	c.WatchConnectionChanges = true
	return login(t, priv, c)
}

// waitPresent skips messages up to the PeerPresent of peer.
func (c *client) waitPresent(peer key.NodePublic) derp.PeerPresentMessage {
	c.t.Helper()
	for {
		if m, ok := c.next().(derp.PeerPresentMessage); ok && m.Key == peer {
			return m
		}
	}
}

func TestWatchConnections(t *testing.T) {
	t.Parallel()
	if notBuiltYet(t, "--mesh-psk-file", "mesh.key") {
		return
	}
	r := startRelay(t, withMeshKey(t, setup{}))
	early := r.connect(t)
	watcher := r.watch(t, testMeshKey)

	flags := map[key.NodePublic]derp.PeerPresentFlags{}
	for range 2 {
		m, ok := watcher.next().(derp.PeerPresentMessage)
		if !ok {
			t.Fatalf("got %s, want a PeerPresent", describe(m))
		}
		flags[m.Key] = m.Flags
	}
	if got := flags[early.pub]; got != derp.PeerPresentIsRegular {
		t.Errorf("flags of the client are %d, want %d", got, derp.PeerPresentIsRegular)
	}
	if got := flags[watcher.pub]; got != derp.PeerPresentIsMeshPeer {
		t.Errorf("flags of the watcher are %d, want %d", got, derp.PeerPresentIsMeshPeer)
	}

	t.Run("address", func(t *testing.T) {
		late := r.connect(t)
		m := watcher.waitPresent(late.pub)
		if want, _ := late.LocalAddr(); m.IPPort != want {
			t.Errorf("address is %v, want %v", m.IPPort, want)
		}
		late.Close()
		watcher.expectGone(late.pub, derp.PeerGoneReasonDisconnected)
	})
	t.Run("prober", func(t *testing.T) {
		priv := key.NewNode()
		c := r.newClient(t, priv)
		c.IsProber = true
		prober := login(t, priv, c)
		if got := watcher.waitPresent(prober.pub).Flags; got != derp.PeerPresentIsProber {
			t.Errorf("flags are %d, want %d", got, derp.PeerPresentIsProber)
		}
		prober.Close()
		watcher.expectGone(prober.pub, derp.PeerGoneReasonDisconnected)
	})
	t.Run("not ideal", func(t *testing.T) {
		first, second := r.node(), r.node()
		first.Name, first.DERPPort = "900b", freePort(t)
		priv := key.NewNode()
		c := login(t, priv, newRegionClient(priv, first, second))
		if got := watcher.waitPresent(c.pub).Flags; got != derp.PeerPresentNotIdeal {
			t.Errorf("flags are %d, want %d", got, derp.PeerPresentNotIdeal)
		}
		r.waitMetric(t, "derp_current_notideal_connections", 1)
		c.Close()
		watcher.expectGone(c.pub, derp.PeerGoneReasonDisconnected)
	})
	t.Run("duplicates are all present but gone once", func(t *testing.T) {
		priv := key.NewNode()
		a, b := r.connectAs(t, priv), r.connectAs(t, priv)
		watcher.waitPresent(a.pub)
		watcher.waitPresent(a.pub)
		a.Close()
		watcher.expectQuiet()
		b.Close()
		watcher.expectGone(a.pub, derp.PeerGoneReasonDisconnected)
	})
	r.waitMetric(t, "derp_watchers", 1)
}

func TestMeshKeyOpensForwardingAndClosing(t *testing.T) {
	t.Parallel()
	if notBuiltYet(t, "--mesh-psk-file", "mesh.key") {
		return
	}
	r := startRelay(t, withMeshKey(t, setup{}))
	a, b := r.connect(t), r.connect(t)
	watcher := r.watch(t, testMeshKey)
	watcher.waitPresent(watcher.pub)

	far := key.NewNode().Public()
	if err := watcher.ForwardPacket(far, a.pub, []byte("from afar")); err != nil {
		t.Fatal(err)
	}
	a.expectPacket(far, "from afar")
	r.waitMetric(t, "derp_packets_forwarded_in", 1)

	if err := watcher.ClosePeer(b.pub); err != nil {
		t.Fatal(err)
	}
	b.waitLost()
	a.send(a.pub, "untouched")
	a.expectPacket(a.pub, "untouched")
}

// TestMeshOfTwoRelays connects two relays of a region, where there are both
// programs in every mixture, and sends through both.
func TestMeshOfTwoRelays(t *testing.T) {
	t.Parallel()
	if notBuiltYet(t, "--mesh-with", "127.0.0.1") {
		return
	}
	mixtures := [][2]program{{underTest, underTest}}
	if !isOriginal() && theOriginal.bin != "" {
		mixtures = append(mixtures, [2]program{underTest, theOriginal})
	}
	for _, mix := range mixtures {
		t.Run(mix[0].kind+" and "+mix[1].kind, func(t *testing.T) {
			t.Parallel()
			certDir := t.TempDir()
			makeCertificate(t, certDir, "127.0.0.1")
			ports := [2]int{freePort(t), freePort(t)}
			var relays [2]*relay
			for i := range relays {
				relays[i] = startRelay(t, withMeshKey(t, setup{
					program: mix[i],
					port:    ports[i],
					certDir: certDir,
					args:    []string{"--mesh-with", fmt.Sprintf("127.0.0.1:%d,127.0.0.1:%d", ports[0], ports[1])},
					env:     []string{"SSL_CERT_FILE=" + filepath.Join(certDir, "127.0.0.1.crt")},
				}))
			}
			a, b := relays[0].connect(t), relays[1].connect(t)
			// The first relay finds the second one only when it dials again.
			knock(a, b)
			knock(b, a)
			waitFor(t, "the forwarded packets to be counted", func() bool {
				return relays[0].metric("derp_packets_forwarded_out") > 0
			})

			a.Close()
			b.expectGone(a.pub, derp.PeerGoneReasonDisconnected)
			b.send(a.pub, discoPacket())
			b.expectGone(a.pub, derp.PeerGoneReasonNotHere)
			for _, r := range relays {
				r.stop()
			}
		})
	}
}

// knock sends until something arrives and then skips what has been sent too
// often.
func knock(from, to *client) {
	from.t.Helper()
	waitFor(from.t, "a packet to cross the mesh", func() bool {
		from.send(to.pub, "knock")
		return len(to.msgs) > 0
	})
	from.send(to.pub, "enter")
	for {
		m, ok := to.next().(derp.ReceivedPacket)
		if !ok || m.Source != from.pub {
			to.t.Fatalf("got %s, want a packet from %s", describe(m), from.pub.ShortString())
		}
		if string(m.Data) == "enter" {
			return
		}
	}
}

func TestWrongMeshKeyIsAnOrdinaryClient(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		s    setup
	}{
		{"another key", withMeshKey(t, setup{})},
		{"no key configured", setup{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if len(test.s.args) > 0 && notBuiltYet(t, "--mesh-psk-file", "mesh.key") {
				return
			}
			r := startRelay(t, test.s)
			for _, meshKey := range []string{strings.Repeat("a", 64), strings.Repeat("0", 64)} {
				priv := key.NewNode()
				c := r.dialRaw(t)
				c.upgrade()
				c.write(c.clientInfoText(priv, `{"meshKey":"`+meshKey+`"}`))
				c.expectServerInfo(priv)
				c.expectPong("12345678")
				c.write(frame(derp.FrameWatchConns, nil))
				c.expectClosed()
			}
		})
	}
}
