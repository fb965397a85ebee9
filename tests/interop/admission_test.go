// SPDX-License-Identifier: BSD-3-Clause

package interop

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tailscale.com/derp"
	"tailscale.com/derp/derphttp"
	"tailscale.com/derp/derpserver"
	"tailscale.com/tailcfg"
	"tailscale.com/types/key"
)

// TestAdmissionURL serves the admission URL with Tailscale's types.
func TestAdmissionURL(t *testing.T) {
	t.Parallel()
	member := key.NewNode()
	var asked atomic.Int32
	controller := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		asked.Add(1)
		var question tailcfg.DERPAdmitClientRequest
		if err := json.NewDecoder(req.Body).Decode(&question); err != nil {
			t.Errorf("the question: %v", err)
		}
		if req.Method != "POST" || question.Source != netip.MustParseAddr("127.0.0.1") {
			t.Errorf("%s from %v", req.Method, question.Source)
		}
		switch req.URL.Path {
		case "/members":
			json.NewEncoder(w).Encode(tailcfg.DERPAdmitClientResponse{Allow: question.NodePublic == member.Public()})
		case "/redirect":
			http.Redirect(w, req, "/members", http.StatusTemporaryRedirect)
		case "/broken":
			http.Error(w, "out of order", http.StatusInternalServerError)
		}
	}))
	t.Cleanup(controller.Close)
	nobody := httptest.NewServer(nil)
	nobody.Close()

	for _, test := range []struct {
		name, url        string
		args             []string
		member, stranger bool // admitted?
	}{
		{"members", controller.URL + "/members", nil, true, false},
		{"redirect", controller.URL + "/redirect", nil, true, false},
		{"another status refuses", controller.URL + "/broken", nil, false, false},
		{"an empty answer refuses", controller.URL + "/empty", nil, false, false},
		{"nobody answers, open", nobody.URL, nil, true, true},
		{"nobody answers, closed", nobody.URL, []string{"--verify-client-url-fail-open=false"}, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := startRelay(t, setup{args: append(test.args, "--verify-client-url", test.url)})
			for _, client := range []struct {
				priv     key.NodePrivate
				admitted bool
			}{{member, test.member}, {key.NewNode(), test.stranger}} {
				c := r.dialRaw(t)
				c.upgrade()
				c.write(c.clientInfo(client.priv, derp.ClientInfo{Version: derp.ProtocolVersion}))
				if client.admitted {
					c.expectServerInfo(client.priv)
				} else {
					c.expectClosed()
				}
			}
		})
	}
	if asked.Load() == 0 {
		t.Error("the controller was never asked")
	}
}

// TestRateConfig shows that the limit holds up the sender, that nothing is
// lost, and that SIGHUP lifts it for those who are connected. Our relay tells
// its clients of the limit, and Go's then drop what is beyond it by themselves.
func TestRateConfig(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "rate.json")
	write := func(config derpserver.RateConfig) {
		t.Helper()
		text, err := json.Marshal(config)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(derpserver.RateConfig{PerClientRateLimitBytesPerSec: 200_000, PerClientRateBurstBytes: 65568})
	r := startRelay(t, setup{args: []string{"--rate-config", file}})
	a, b := r.connect(t), r.connect(t)

	if !isOriginal() {
		for i := range 3 {
			if err := a.Send(b.pub, append([]byte{byte('0' + i)}, make([]byte, 60_000)...)); err != nil {
				t.Fatal(err)
			}
		}
		a.send(b.pub, "behind")
		if m, ok := b.next().(derp.ReceivedPacket); !ok || m.Data[0] != '0' {
			t.Fatalf("got %s, want the first packet", describe(m))
		}
		b.expectPacket(a.pub, "behind")
		write(derpserver.RateConfig{})
		r.cmd.Process.Signal(syscall.SIGHUP)
		waitFor(t, "the limit to be lifted", func() bool {
			varz, err := r.scrape()
			return err == nil && varz["derp_rate_limit_per_client_bytes_per_second"] == 0
		})
		a = r.connect(t)
	}

	// 300,000 bytes, of which the burst covers 65,568.
	burst := func() time.Duration {
		t.Helper()
		start := time.Now()
		for i := range 5 {
			if err := a.Send(b.pub, append([]byte{byte('0' + i)}, make([]byte, 60_000)...)); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 5 {
			m, ok := b.next().(derp.ReceivedPacket)
			if !ok || m.Source != a.pub || m.Data[0] != byte('0'+i) {
				t.Fatalf("got %s, want packet %d", describe(m), i)
			}
		}
		return time.Since(start)
	}
	if took := burst(); isOriginal() && took < time.Second {
		t.Errorf("300,000 bytes took %v at 200,000 a second", took)
	}

	write(derpserver.RateConfig{})
	r.cmd.Process.Signal(syscall.SIGHUP)
	waitFor(t, "the limit to be lifted", func() bool { return burst() < 500*time.Millisecond })
	r.stop()
}

// TestClientsAreToldOfLimits shows what Go's client hears: the limits of the
// time at its login, and those of a reload with its next keep-alive, which only
// the long run waits for.
func TestClientsAreToldOfLimits(t *testing.T) {
	t.Parallel()
	if isOriginal() {
		return // it tells nobody
	}
	const keepAlive = 65 * time.Second
	file := filepath.Join(t.TempDir(), "rate.json")
	write := func(bytesPerSecond, burst uint64) {
		t.Helper()
		text, err := json.Marshal(derpserver.RateConfig{
			PerClientRateLimitBytesPerSec: bytesPerSecond, PerClientRateBurstBytes: burst})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(200_000, 100_000)
	r := startRelay(t, setup{args: []string{"--rate-config", file}})
	// expect reads from a client that nobody else reads from.
	expect := func(c *derphttp.Client, bytesPerSecond, burst int) {
		t.Helper()
		for {
			m, err := c.Recv()
			if err != nil {
				t.Fatal(err)
			}
			info, ok := m.(derp.ServerInfoMessage)
			if !ok {
				continue
			}
			if info.TokenBucketBytesPerSecond != bytesPerSecond || info.TokenBucketBytesBurst != burst {
				t.Fatalf("told %+v, want %d and %d", info, bytesPerSecond, burst)
			}
			return
		}
	}
	newClient := func() *derphttp.Client {
		t.Helper()
		c := r.newClient(t, key.NewNode())
		c.SetCanAckPings(true) // as tailscaled does
		t.Cleanup(func() { c.Close() })
		return c
	}

	stays := newClient()
	expect(stays, 200_000, 100_000)
	write(400_000, 200_000)
	r.cmd.Process.Signal(syscall.SIGHUP)
	waitFor(t, "the reload", func() bool {
		varz, err := r.scrape()
		return err == nil && varz["derp_rate_limit_per_client_bytes_per_second"] == 400_000
	})
	expect(newClient(), 400_000, 200_000)
	if testing.Short() {
		return
	}
	late := time.AfterFunc(keepAlive+patience, func() { stays.Close() })
	defer late.Stop()
	expect(stays, 400_000, 200_000)
}
