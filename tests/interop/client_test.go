// SPDX-License-Identifier: BSD-3-Clause

package interop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"tailscale.com/derp"
	"tailscale.com/derp/derphttp"
	"tailscale.com/net/netmon"
	"tailscale.com/tailcfg"
	"tailscale.com/types/key"
)

// client is Tailscale's client with a reader that keeps what it receives.
type client struct {
	*derphttp.Client
	t    *testing.T
	priv key.NodePrivate
	pub  key.NodePublic
	msgs chan derp.ReceivedMessage // closed when the client is
}

// lost takes the place of a message when the connection breaks; the client
// dials again by itself.
type lost struct {
	derp.ReceivedMessage
	err error
}

// newClient returns a client of the relay that has not dialled yet.
func (r *relay) newClient(t *testing.T, priv key.NodePrivate) *derphttp.Client {
	t.Helper()
	logf := func(string, ...any) {}
	if !r.secure() {
		c, err := derphttp.NewClient(priv, r.url("/derp"), logf, netmon.NewStatic())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	return newRegionClient(priv, r.node())
}

func newRegionClient(priv key.NodePrivate, nodes ...*tailcfg.DERPNode) *derphttp.Client {
	region := &tailcfg.DERPRegion{RegionID: 900, RegionCode: "test", RegionName: "Test", Nodes: nodes}
	return derphttp.NewRegionClient(priv, func(string, ...any) {}, netmon.NewStatic(),
		func() *tailcfg.DERPRegion { return region })
}

// connect returns a new client that is logged in.
func (r *relay) connect(t *testing.T) *client {
	t.Helper()
	return r.connectAs(t, key.NewNode())
}

func (r *relay) connectAs(t *testing.T, priv key.NodePrivate) *client {
	t.Helper()
	return login(t, priv, r.newClient(t, priv))
}

// login connects c, starts its reader and returns when the relay has admitted
// it, which means that packets reach it from then on.
func login(t *testing.T, priv key.NodePrivate, c *derphttp.Client) *client {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.Connect(ctx); err != nil {
		t.Fatalf("connecting: %v", err)
	}
	cl := &client{Client: c, t: t, priv: priv, pub: priv.Public(), msgs: make(chan derp.ReceivedMessage, 4096)}
	go cl.read()
	t.Cleanup(func() { c.Close() })
	cl.waitLogin()
	return cl
}

func (c *client) read() {
	defer close(c.msgs)
	for {
		m, err := c.Recv()
		if errors.Is(err, derphttp.ErrClientClosed) {
			return
		}
		if err != nil {
			c.msgs <- lost{err: err}
			time.Sleep(20 * time.Millisecond)
			continue
		}
		switch m := m.(type) {
		case derp.KeepAliveMessage:
		case derp.PingMessage:
			c.SendPong(m)
		case derp.ReceivedPacket:
			m.Data = bytes.Clone(m.Data)
			c.msgs <- m
		default:
			c.msgs <- m
		}
	}
}

// next returns the next message.
func (c *client) next() derp.ReceivedMessage {
	c.t.Helper()
	select {
	case m, ok := <-c.msgs:
		if !ok {
			c.t.Fatal("the client is closed")
		}
		return m
	case <-time.After(patience):
		c.t.Fatalf("no message within %v", patience)
	}
	return nil
}

func (c *client) waitLogin() {
	c.t.Helper()
	if m, ok := c.next().(derp.ServerInfoMessage); !ok {
		c.t.Fatalf("the first message is %s, want ServerInfo", describe(m))
	}
}

// expect fails unless the next message is want.
func (c *client) expect(want derp.ReceivedMessage) {
	c.t.Helper()
	if got := c.next(); describe(got) != describe(want) {
		c.t.Fatalf("got %s, want %s", describe(got), describe(want))
	}
}

func (c *client) expectPacket(from key.NodePublic, data string) {
	c.t.Helper()
	c.expect(derp.ReceivedPacket{Source: from, Data: []byte(data)})
}

func (c *client) expectGone(peer key.NodePublic, reason derp.PeerGoneReasonType) {
	c.t.Helper()
	c.expect(derp.PeerGoneMessage{Peer: peer, Reason: reason})
}

// expectQuiet fails if a message is there or arrives within a short while.
func (c *client) expectQuiet() {
	c.t.Helper()
	select {
	case m, ok := <-c.msgs:
		if !ok {
			c.t.Fatal("the client is closed")
		}
		c.t.Fatalf("unexpected %s", describe(m))
	case <-time.After(quiet):
	}
}

// send sends a packet and returns when the relay has handled it.
func (c *client) send(to key.NodePublic, data string) {
	c.t.Helper()
	if err := c.Send(to, []byte(data)); err != nil {
		c.t.Fatalf("sending: %v", err)
	}
	c.sync()
}

// sync returns when the relay has handled everything that c has sent.
func (c *client) sync() {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.Ping(ctx); err != nil {
		c.t.Fatalf("ping: %v", err)
	}
}

func describe(m derp.ReceivedMessage) string {
	switch m := m.(type) {
	case derp.ReceivedPacket:
		if len(m.Data) > 40 {
			return fmt.Sprintf("packet from %s, %d bytes %q…", m.Source.ShortString(), len(m.Data), m.Data[:40])
		}
		return fmt.Sprintf("packet from %s %q", m.Source.ShortString(), m.Data)
	case derp.PeerGoneMessage:
		return fmt.Sprintf("PeerGone(%s, %d)", m.Peer.ShortString(), m.Reason)
	case lost:
		return fmt.Sprintf("a lost connection (%v)", m.err)
	default:
		return fmt.Sprintf("%T%v", m, m)
	}
}

// discoPacket returns a packet that looks like one of the discovery protocol.
func discoPacket() string {
	return "TS💬" + string(make([]byte, 32+24))
}
