// SPDX-License-Identifier: BSD-3-Clause

package interop

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"go4.org/mem"

	"tailscale.com/derp"
	"tailscale.com/types/key"
)

// rawConn speaks to the relay frame by frame, so that a test decides about
// every byte.
type rawConn struct {
	net.Conn
	t         *testing.T
	br        *bufio.Reader
	serverKey key.NodePublic
}

// dialRaw connects to the relay: TLS if the relay serves it.
func (r *relay) dialRaw(t *testing.T) *rawConn {
	t.Helper()
	c, err := net.DialTimeout("tcp", r.addr(), patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(2 * patience))
	if r.secure() {
		c = tls.Client(c, &tls.Config{InsecureSkipVerify: true, ServerName: r.hostname})
	}
	return &rawConn{Conn: c, t: t, br: bufio.NewReader(c)}
}

// loginRaw returns a raw connection that is logged in.
func (r *relay) loginRaw(t *testing.T, priv key.NodePrivate) *rawConn {
	t.Helper()
	c := r.dialRaw(t)
	c.upgrade()
	c.write(c.clientInfo(priv, derp.ClientInfo{Version: derp.ProtocolVersion}))
	c.expectServerInfo(priv)
	return c
}

const upgradeRequest = "GET /derp HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: DERP\r\n"

// upgrade asks for DERP, reads the answer and the ServerKey frame.
func (c *rawConn) upgrade() {
	c.t.Helper()
	c.write([]byte(upgradeRequest + "\r\n"))
	c.readUpgrade()
}

func (c *rawConn) readUpgrade() {
	c.t.Helper()
	res, err := http.ReadResponse(c.br, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		c.t.Fatalf("got %s, want 101", res.Status)
	}
	c.readServerKey()
	if got, want := res.Header.Get("Derp-Public-Key"), c.serverKey.UntypedHexString(); got != want {
		c.t.Errorf("Derp-Public-Key is %q, want %q", got, want)
	}
	if got := res.Header.Get("Derp-Version"); got != "2" {
		c.t.Errorf("Derp-Version is %q, want 2", got)
	}
}

func (c *rawConn) readServerKey() {
	c.t.Helper()
	payload := c.expectFrame(derp.FrameServerKey)
	if len(payload) < len(derp.Magic)+derp.KeyLen || string(payload[:len(derp.Magic)]) != derp.Magic {
		c.t.Fatalf("bad ServerKey frame %x", payload)
	}
	c.serverKey = key.NodePublicFromRaw32(mem.B(payload[len(derp.Magic):][:derp.KeyLen]))
}

func frame(typ derp.FrameType, payload []byte) []byte {
	n := len(payload)
	return append([]byte{byte(typ), byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, payload...)
}

func sendPacketFrame(to key.NodePublic, data []byte) []byte {
	return frame(derp.FrameSendPacket, append(to.AppendTo(nil), data...))
}

// clientInfo returns the frame by which priv logs in.
func (c *rawConn) clientInfo(priv key.NodePrivate, info any) []byte {
	c.t.Helper()
	text, err := json.Marshal(info)
	if err != nil {
		c.t.Fatal(err)
	}
	return c.clientInfoText(priv, string(text))
}

func (c *rawConn) clientInfoText(priv key.NodePrivate, text string) []byte {
	return frame(derp.FrameClientInfo,
		append(priv.Public().AppendTo(nil), priv.SealTo(c.serverKey, []byte(text))...))
}

func (c *rawConn) write(b []byte) {
	c.t.Helper()
	if _, err := c.Write(b); err != nil {
		c.t.Fatalf("writing: %v", err)
	}
}

// writeSlowly writes each byte by itself: a TLS record and a segment of its own.
func (c *rawConn) writeSlowly(b []byte) {
	c.t.Helper()
	for i := range b {
		c.write(b[i : i+1])
	}
}

func (c *rawConn) readFrame() (derp.FrameType, []byte, error) {
	typ, n, err := derp.ReadFrameHeader(c.br)
	if err != nil {
		return 0, nil, err
	}
	if n > derp.MaxPacketSize+derp.KeyLen {
		return 0, nil, fmt.Errorf("frame of type %#x with %d bytes", byte(typ), n)
	}
	payload := make([]byte, n)
	_, err = io.ReadFull(c.br, payload)
	return typ, payload, err
}

func (c *rawConn) expectFrame(want derp.FrameType) []byte {
	c.t.Helper()
	for {
		typ, payload, err := c.readFrame()
		if err != nil {
			c.t.Fatalf("reading a frame of type %#x: %v", byte(want), err)
		}
		if typ == derp.FrameKeepAlive {
			continue
		}
		if typ != want {
			c.t.Fatalf("got a frame of type %#x, want %#x", byte(typ), byte(want))
		}
		return payload
	}
}

func (c *rawConn) expectServerInfo(priv key.NodePrivate) {
	c.t.Helper()
	text, ok := priv.OpenFrom(c.serverKey, c.expectFrame(derp.FrameServerInfo))
	if !ok {
		c.t.Fatal("the box of ServerInfo does not open")
	}
	var info derp.ServerInfo
	if err := json.Unmarshal(text, &info); err != nil {
		c.t.Fatalf("ServerInfo %q: %v", text, err)
	}
	if info.Version != derp.ProtocolVersion {
		c.t.Errorf("ServerInfo says version %d, want %d", info.Version, derp.ProtocolVersion)
	}
}

// expectPong shows that the relay has read everything up to here.
func (c *rawConn) expectPong(data string) {
	c.t.Helper()
	c.write(frame(derp.FramePing, []byte(data)))
	if got := string(c.expectFrame(derp.FramePong)); got != data {
		c.t.Fatalf("Pong holds %q, want %q", got, data)
	}
}

// expectClosed fails unless the relay ends the connection at once and without
// another frame. The wait is shorter than the relay's limit for a login.
func (c *rawConn) expectClosed() {
	c.t.Helper()
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	typ, payload, err := c.readFrame()
	if err == nil {
		c.t.Fatalf("got a frame of type %#x with %d bytes, want the connection closed", byte(typ), len(payload))
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatal("the relay keeps the connection open")
	}
}
