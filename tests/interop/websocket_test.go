// SPDX-License-Identifier: BSD-3-Clause

package interop

import (
	"bufio"
	"context"
	"crypto/tls"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"tailscale.com/derp"
	"tailscale.com/types/key"
)

// webSocketClient is Tailscale's frame client over the transport of its
// browser client.
type webSocketClient struct {
	*derp.Client
	close func() error
}

func (r *relay) connectWebSocket(t *testing.T, priv key.NodePrivate) webSocketClient {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	t.Cleanup(cancel)
	ws, res, err := websocket.Dial(ctx, r.url("/derp"), &websocket.DialOptions{
		Subprotocols: []string{"derp"},
		HTTPHeader:   http.Header{"Origin": {"https://somewhere.example"}},
		HTTPClient: &http.Client{Transport: &http.Transport{
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.CloseNow() })
	if got := ws.Subprotocol(); got != "derp" {
		t.Errorf("subprotocol is %q, want derp", got)
	}
	if got := res.Header.Get("Sec-WebSocket-Extensions"); got != "" {
		t.Errorf("extensions are %q", got)
	}
	ws.SetReadLimit(-1)

	conn := websocket.NetConn(ctx, ws, websocket.MessageBinary)
	brw := bufio.NewReadWriter(bufio.NewReader(conn), bufio.NewWriter(conn))
	c, err := derp.NewClient(priv, conn, brw, func(string, ...any) {})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.ServerPublicKey(), r.publicKey(); got != want {
		t.Errorf("key is %v, want %v", got, want)
	}
	if m, err := c.Recv(); err != nil {
		t.Fatal(err)
	} else if _, ok := m.(derp.ServerInfoMessage); !ok {
		t.Fatalf("the first message is %s, want ServerInfo", describe(m))
	}
	return webSocketClient{c, conn.Close}
}

func TestWebSocket(t *testing.T) {
	t.Parallel()
	r := startRelay(t, setup{})
	if noWebSocketYet(t, r) {
		return
	}
	priv := key.NewNode()
	c := r.connectWebSocket(t, priv)
	peer := r.connect(t)
	for _, n := range []int{0, 1, 125, 126, 1280, 20000, 32768} {
		text := strings.Repeat("x", n)
		if err := c.Send(peer.pub, []byte(text)); err != nil {
			t.Fatal(err)
		}
		peer.expectPacket(priv.Public(), text)
	}
	for _, n := range []int{0, 1, 125, 126, 1280, 20000, derp.MaxPacketSize} {
		text := strings.Repeat("y", n)
		peer.send(priv.Public(), text)
		m, err := c.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := m.(derp.ReceivedPacket); !ok || string(got.Data) != text {
			t.Fatalf("got %s, want %d bytes", describe(m), n)
		}
	}
	r.waitMetric(t, "derp_websocket_accepts", 1)
	c.close()
	peer.expectGone(priv.Public(), derp.PeerGoneReasonDisconnected)
}
