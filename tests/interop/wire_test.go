// SPDX-License-Identifier: BSD-3-Clause

package interop

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"tailscale.com/derp"
	"tailscale.com/types/key"
)

func TestByteByByte(t *testing.T) {
	t.Parallel()
	for _, plain := range []bool{false, true} {
		t.Run(fmt.Sprintf("plain %v", plain), func(t *testing.T) {
			r := startRelay(t, setup{plain: plain})
			peer := r.connect(t)
			priv := key.NewNode()
			c := r.dialRaw(t)
			c.writeSlowly([]byte(upgradeRequest + "\r\n"))
			c.readUpgrade()
			c.writeSlowly(c.clientInfo(priv, derp.ClientInfo{Version: derp.ProtocolVersion}))
			c.expectServerInfo(priv)
			c.writeSlowly(frame(derp.FrameNotePreferred, []byte{1}))
			c.writeSlowly(sendPacketFrame(peer.pub, []byte("a byte at a time")))
			peer.expectPacket(priv.Public(), "a byte at a time")
			c.expectPong("12345678")
		})
	}
}

func TestManyFramesInOneWrite(t *testing.T) {
	t.Parallel()
	r := startRelay(t, setup{})
	peer := r.connect(t)
	priv := key.NewNode()
	c := r.loginRaw(t, priv)
	var all []byte
	for i := range 30 {
		all = append(all, sendPacketFrame(peer.pub, fmt.Appendf(nil, "packet %d", i))...)
		all = append(all, frame(0x77, make([]byte, i))...)
	}
	c.write(all)
	for i := range 30 {
		peer.expectPacket(priv.Public(), fmt.Sprintf("packet %d", i))
	}
}

func TestBytesBehindTheRequestAreKept(t *testing.T) {
	t.Parallel()
	r := startRelay(t, setup{})
	priv := key.NewNode()
	c := r.dialRaw(t)
	c.serverKey = r.publicKey()
	info := c.clientInfo(priv, derp.ClientInfo{})
	c.write([]byte(upgradeRequest + "\r\n" + string(info)))
	c.readUpgrade()
	c.expectServerInfo(priv)
	c.expectPong("12345678")
}

func TestFramesThatAreSkipped(t *testing.T) {
	t.Parallel()
	r := startRelay(t, setup{})
	for _, test := range []struct {
		typ  derp.FrameType
		size int
	}{
		{0x77, 0},
		{0x77, 1},
		{0xff, 100_000},
		{0x00, 3_000_000},
		{derp.FrameKeepAlive, 0},
		{derp.FramePong, 8},
		{derp.FrameRecvPacket, 64},
		{derp.FrameHealth, 5},
	} {
		t.Run(fmt.Sprintf("type %#x, %d bytes", byte(test.typ), test.size), func(t *testing.T) {
			c := r.loginRaw(t, key.NewNode())
			c.write(frame(test.typ, make([]byte, test.size)))
			c.expectPong("12345678")
		})
	}
}

func TestFramesThatEndTheConnection(t *testing.T) {
	t.Parallel()
	r := startRelay(t, setup{})
	peer := r.connect(t)
	for _, test := range []struct {
		name  string
		frame []byte
	}{
		{"SendPacket without a key", frame(derp.FrameSendPacket, make([]byte, 31))},
		{"SendPacket with a byte too many", sendPacketFrame(peer.pub, make([]byte, derp.MaxPacketSize+1))},
		{"SendPacket of 4 GiB", append([]byte{byte(derp.FrameSendPacket), 255, 255, 255, 255}, make([]byte, 32)...)},
		{"ForwardPacket of a stranger", frame(derp.FrameForwardPacket, make([]byte, 80))},
		{"WatchConns of a stranger", frame(derp.FrameWatchConns, nil)},
		{"ClosePeer of a stranger", frame(derp.FrameClosePeer, peer.pub.AppendTo(nil))},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := r.loginRaw(t, key.NewNode())
			c.Write(test.frame) // may fail half-way, as the relay closes
			c.expectClosed()
		})
	}
	peer.send(peer.pub, "still here")
	peer.expectPacket(peer.pub, "still here")
}

func TestLoginsThatAreRefused(t *testing.T) {
	t.Parallel()
	r := startRelay(t, setup{})
	priv := key.NewNode()
	for _, test := range []struct {
		name  string
		frame func(c *rawConn) []byte
	}{
		{"box of another key", func(c *rawConn) []byte {
			box := key.NewNode().SealTo(c.serverKey, []byte("{}"))
			return frame(derp.FrameClientInfo, append(priv.Public().AppendTo(nil), box...))
		}},
		{"box for another server", func(c *rawConn) []byte {
			box := priv.SealTo(key.NewNode().Public(), []byte("{}"))
			return frame(derp.FrameClientInfo, append(priv.Public().AppendTo(nil), box...))
		}},
		{"box with one wrong bit", func(c *rawConn) []byte {
			f := c.clientInfoText(priv, "{}")
			f[len(f)-1] ^= 1
			return f
		}},
		{"no box", func(*rawConn) []byte {
			return frame(derp.FrameClientInfo, append(priv.Public().AppendTo(nil), make([]byte, 24)...))
		}},
		{"too short", func(*rawConn) []byte { return frame(derp.FrameClientInfo, make([]byte, 55)) }},
		{"too long", func(*rawConn) []byte { return []byte{byte(derp.FrameClientInfo), 0, 4, 0, 1} }},
		{"another frame first", func(c *rawConn) []byte { return frame(derp.FramePing, make([]byte, 8)) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := r.dialRaw(t)
			c.upgrade()
			c.write(test.frame(c))
			c.expectClosed()
		})
	}
	r.waitMetric(t, "derp_current_connections", 0)
	r.connect(t)
}

func TestUpgradeRequests(t *testing.T) {
	t.Parallel()
	r := startRelay(t, setup{})
	const host = "Host: 127.0.0.1\r\n"
	for _, test := range []struct{ name, request string }{
		{"upper case", "GET /derp HTTP/1.1\r\n" + host + "CONNECTION: UPGRADE\r\nUPGRADE: DERP\r\n\r\n"},
		{"lower case", "GET /derp HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: upgrade\r\nupgrade: derp\r\n\r\n"},
		{"no Connection header", "GET /derp HTTP/1.1\r\n" + host + "Upgrade: DERP\r\n\r\n"},
		{"websocket without a subprotocol", "GET /derp HTTP/1.1\r\n" + host + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"},
		{"POST with the whole URL", "POST https://127.0.0.1/derp HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: upgrade\r\nupgrade: derp\r\n\r\n"},
		{"Ideal-Node", "GET /derp HTTP/1.1\r\n" + host + "Connection: Upgrade\r\nUpgrade: DERP\r\nIdeal-Node: 900b\r\n\r\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			priv := key.NewNode()
			c := r.dialRaw(t)
			c.write([]byte(test.request))
			c.readUpgrade()
			c.write(c.clientInfo(priv, derp.ClientInfo{}))
			c.expectServerInfo(priv)
		})
	}
	for _, test := range []struct{ name, request string }{
		{"no Upgrade header", "GET /derp HTTP/1.1\r\n" + host + "\r\n"},
		{"another protocol", "GET /derp HTTP/1.1\r\n" + host + "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := r.dialRaw(t)
			c.write([]byte(test.request))
			res, err := http.ReadResponse(c.br, nil)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(res.Body)
			if res.StatusCode != http.StatusUpgradeRequired || strings.TrimSpace(string(body)) != "DERP requires connection upgrade" {
				t.Errorf("got %s %q", res.Status, body)
			}
		})
	}
}
