// SPDX-License-Identifier: BSD-3-Clause

package interop

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"tailscale.com/derp"
	"tailscale.com/types/key"
)

func TestPingPong(t *testing.T) {
	t.Parallel()
	r := startRelay(t, setup{})

	t.Run("through the client", func(t *testing.T) {
		c := r.connect(t)
		for range 20 {
			if err := c.Ping(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		r.waitMetric(t, "derp_got_ping", 20)
		r.waitMetric(t, "derp_sent_pong", 20)
	})
	for _, n := range []int{8, 9, 1000} {
		t.Run(fmt.Sprintf("%d bytes", n), func(t *testing.T) {
			c := r.loginRaw(t, key.NewNode())
			data := strings.Repeat("abcdefghij", n/10+1)[:n]
			c.write(frame(derp.FramePing, []byte(data)))
			if got := string(c.expectFrame(derp.FramePong)); got != data[:8] {
				t.Errorf("Pong holds %q, want %q", got, data[:8])
			}
			c.expectPong("12345678")
		})
	}
	for _, n := range []int{0, 7, 1001} {
		t.Run(fmt.Sprintf("%d bytes end the connection", n), func(t *testing.T) {
			c := r.loginRaw(t, key.NewNode())
			c.write(frame(derp.FramePing, make([]byte, n)))
			c.expectClosed()
		})
	}
}

func TestNotePreferred(t *testing.T) {
	t.Parallel()
	const home = "derp_current_home_connections"
	r := startRelay(t, setup{})
	a, b := r.connect(t), r.connect(t)
	r.waitMetric(t, home, 0)
	a.NotePreferred(true)
	r.waitMetric(t, home, 1)
	b.NotePreferred(true)
	r.waitMetric(t, home, 2)
	a.NotePreferred(false)
	r.waitMetric(t, home, 1)
	b.Close()
	r.waitMetric(t, home, 0)

	t.Run("sent with the login", func(t *testing.T) {
		priv := key.NewNode()
		c := r.newClient(t, priv)
		c.NotePreferred(true)
		login(t, priv, c)
		r.waitMetric(t, home, 1)
	})
	for _, n := range []int{0, 2} {
		t.Run(fmt.Sprintf("%d bytes end the connection", n), func(t *testing.T) {
			c := r.loginRaw(t, key.NewNode())
			c.write(frame(derp.FrameNotePreferred, make([]byte, n)))
			c.expectClosed()
		})
	}
}

func TestClientInfo(t *testing.T) {
	t.Parallel()
	r := startRelay(t, setup{})

	t.Run("of Tailscale's client", func(t *testing.T) {
		for _, prober := range []bool{false, true} {
			for _, acks := range []bool{false, true} {
				priv := key.NewNode()
				c := r.newClient(t, priv)
				c.IsProber = prober
				c.AppName = "interop"
				c.SetCanAckPings(acks)
				cl := login(t, priv, c)
				cl.send(cl.pub, "admitted")
				cl.expectPacket(cl.pub, "admitted")
			}
		}
	})
	for _, test := range []struct{ name, text string }{
		{"nothing in it", `{}`},
		{"another version", `{"version":77}`},
		{"names of another client", `{"can_ack_pings":false,"is_prober":false,"mesh_key":"none","version":2}`},
		{"values of unknown names", `{"version":2,"a":{"b":[1,2,{"c":null}]},"d":-1.5e3,"e":"\u00e4\"\\"}`},
		{"white space", " {\n\t\"version\" : 2 }\r\n"},
		{"a mesh key that is not ours", `{"meshKey":"` + strings.Repeat("ab", 32) + `"}`},
	} {
		t.Run(test.name+" is admitted", func(t *testing.T) {
			priv := key.NewNode()
			c := r.dialRaw(t)
			c.upgrade()
			c.write(c.clientInfoText(priv, test.text))
			c.expectServerInfo(priv)
			c.expectPong("12345678")
		})
	}
	for _, test := range []struct{ name, text string }{
		{"no JSON", "hello"},
		{"an empty box", ""},
		{"half a JSON object", `{"version":`},
		{"something behind the JSON", `{"version":2}x`},
		{"a version that is no number", `{"version":"2"}`},
		{"a mesh key of 63 digits", `{"meshKey":"` + strings.Repeat("a", 63) + `"}`},
		{"a mesh key with other letters", `{"meshKey":"` + strings.Repeat("xy", 32) + `"}`},
	} {
		t.Run(test.name+" is refused", func(t *testing.T) {
			c := r.dialRaw(t)
			c.upgrade()
			c.write(c.clientInfoText(key.NewNode(), test.text))
			c.expectClosed()
		})
	}
}

// TestKeepAliveIsNotSentEarly listens for a while on an idle connection.
func TestKeepAliveIsNotSentEarly(t *testing.T) {
	t.Parallel()
	r := startRelay(t, setup{})
	c := r.loginRaw(t, key.NewNode())
	c.SetReadDeadline(time.Now().Add(2 * time.Second))
	if typ, _, err := c.readFrame(); err == nil {
		t.Errorf("got a frame of type %#x", byte(typ))
	}
}
