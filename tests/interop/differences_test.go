// SPDX-License-Identifier: BSD-3-Clause

package interop

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tailscale.com/derp"
	"tailscale.com/net/stun"
	"tailscale.com/types/key"
)

// The tests in this file show where the two programs differ on purpose. Each
// name says what ours does; for the original the same test shows that it
// really does otherwise, so that a difference that goes away is noticed.

func TestDifference_SIGHUPNeverKills(t *testing.T) {
	t.Parallel()
	// Handling the signal here lets the relay start with the default action
	// even when the tests run under nohup, which has it ignored.
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	r := startRelay(t, setup{})
	a, b := r.connect(t), r.connect(t)
	for range 3 {
		r.cmd.Process.Signal(syscall.SIGHUP)
		if isOriginal() {
			if code := r.waitExit(); code != -1 {
				t.Errorf("the original ended with %d, not by the signal", code)
			}
			return
		}
		a.send(b.pub, "still here")
		b.expectPacket(a.pub, "still here")
	}
	a.expectQuiet()
	r.stop()
}

func TestDifference_BusySTUNPortStopsTheStart(t *testing.T) {
	t.Parallel()
	busy, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	port := busy.LocalAddr().(*net.UDPAddr).Port
	if isOriginal() {
		r := launchRelay(t, setup{stunPort: port})
		waitFor(t, "the original to serve without STUN", func() bool {
			res, err := r.scraper.Get(r.url("/derp/probe"))
			if err == nil {
				res.Body.Close()
			}
			return err == nil
		})
		return
	}
	r := launchRelay(t, setup{stunPort: port})
	if code := r.waitExit(); code == 0 {
		t.Error("exit status 0")
	}
	if !strings.Contains(r.log.String(), fmt.Sprint(port)) {
		t.Error("the log does not name the port")
	}
}

func TestDifference_PeerGoneToldAgainAfterReturn(t *testing.T) {
	t.Parallel()
	r := startRelay(t, setup{})
	told := r.connect(t)
	priv := key.NewNode()
	for round := range 3 {
		c := r.connectAs(t, priv)
		text := fmt.Sprintf("round %d", round)
		c.send(told.pub, text)
		told.expectPacket(c.pub, text)
		c.Close()
		if isOriginal() && round > 0 {
			r.waitMetric(t, "derp_current_connections", 1)
			told.expectQuiet()
			continue
		}
		told.expectGone(c.pub, derp.PeerGoneReasonDisconnected)
	}
}

func TestDifference_NewestDuplicateTakesOver(t *testing.T) {
	t.Parallel()
	r := startRelay(t, setup{})
	sender := r.connect(t)
	priv := key.NewNode()
	oldest, newer, newest := r.connectAs(t, priv), r.connectAs(t, priv), r.connectAs(t, priv)
	sender.send(priv.Public(), "to the newest")
	newest.expectPacket(sender.pub, "to the newest")

	newest.Close()
	r.expectDuplicates(t, 1, 2)
	sender.send(priv.Public(), "to whom now?")
	if isOriginal() {
		oldest.expectPacket(sender.pub, "to whom now?")
		return
	}
	newer.expectPacket(sender.pub, "to whom now?")
	if len(oldest.msgs) > 0 {
		t.Errorf("the oldest got %s", describe(<-oldest.msgs))
	}
}

func TestDifference_UnknownFramesAreCounted(t *testing.T) {
	t.Parallel()
	r := startRelay(t, setup{})
	c := r.loginRaw(t, key.NewNode())
	for _, typ := range []derp.FrameType{0x77, 0x78, 0xff} {
		c.write(frame(typ, []byte("what is this?")))
	}
	c.expectPong("12345678")
	want := 3.0
	if isOriginal() {
		want = 0
	}
	r.waitMetric(t, "derp_unknown_frames", want)
}

func TestDifference_AllZeroKeyRefusedQuietly(t *testing.T) {
	t.Parallel()
	r := startRelay(t, setup{})
	c := r.dialRaw(t)
	c.upgrade()
	c.write(frame(derp.FrameClientInfo, make([]byte, 32+24+100)))
	c.expectClosed()
	r.connect(t)
	r.stop()
	if got := strings.Contains(r.log.String(), "panic"); got != isOriginal() {
		t.Errorf("the log tells of a panic: %v", got)
	}
}

func TestDifference_KeyFileWithoutKeyIsAnError(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"{}", `{"Other":1}`} {
		path := filepath.Join(t.TempDir(), "the.key")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		r := launchRelay(t, setup{plain: true, keyFile: path})
		if code := r.waitExit(); code <= 0 {
			t.Errorf("%s: exit status %d", text, code)
		}
		if got := readFile(t, path); got != text {
			t.Errorf("%s: the file now holds %q", text, got)
		}
		log := r.log.String()
		if isOriginal() {
			if !strings.Contains(log, "panic: ") {
				t.Errorf("%s: the original did not panic", text)
			}
			continue
		}
		if !strings.Contains(log, path) || strings.Contains(log, "panic") {
			t.Errorf("%s: the log does not name the file", text)
		}
	}
}

func TestDifference_StunIPv4MappedAnsweredAsIPv4(t *testing.T) {
	t.Parallel()
	r := startRelay(t, setup{everyIP: true})
	answer, err := r.askSTUN(stun.NewTxID(), patience)
	if err != nil {
		t.Fatal(err)
	}
	want := 32
	if isOriginal() {
		want = 44
	}
	if len(answer) != want {
		t.Errorf("the answer has %d bytes, want %d", len(answer), want)
	}
}

func TestDifference_ServerNameInAnyCase(t *testing.T) {
	t.Parallel()
	r := startRelay(t, withHostname(t))
	if err := r.handshake("LocalHost"); (err != nil) != isOriginal() {
		t.Errorf("handshake: %v", err)
	}
}

func TestDifference_WebSocketTakesTheLargestPacket(t *testing.T) {
	t.Parallel()
	r := startRelay(t, setup{})
	if noWebSocketYet(t, r) {
		return
	}
	peer, priv := r.connect(t), key.NewNode()
	c := r.connectWebSocket(t, priv)
	text := strings.Repeat("x", derp.MaxPacketSize)
	c.Send(peer.pub, []byte("first"))
	peer.expectPacket(priv.Public(), "first")
	if err := c.Send(peer.pub, []byte(text)); err != nil && !isOriginal() {
		t.Fatal(err)
	}
	if isOriginal() {
		peer.expectGone(priv.Public(), derp.PeerGoneReasonDisconnected)
		return
	}
	peer.expectPacket(priv.Public(), text)
}

func TestDifference_AcceptLimitRefusesOnlyTheConnection(t *testing.T) {
	t.Parallel()
	r := startRelay(t, setup{args: []string{"--accept-connection-limit", "20", "--accept-connection-burst", "20"}})
	a, b := r.connect(t), r.connect(t)
	for range 300 {
		c, err := net.DialTimeout("tcp", r.addr(), time.Second)
		if err != nil {
			break
		}
		defer c.Close()
	}
	if isOriginal() {
		if code := r.waitExit(); code != 1 {
			t.Errorf("the original ended with %d, want 1", code)
		}
		return
	}
	a.send(b.pub, "in spite of the limit")
	b.expectPacket(a.pub, "in spite of the limit")
	waitFor(t, "the refused connections to be counted", func() bool {
		varz, err := r.scrape() // may be refused as well
		return err == nil && varz["tls_listener_rejected_connections"] > 0
	})
	r.stop()
}
