// SPDX-License-Identifier: BSD-3-Clause

package interop

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"tailscale.com/derp"
	"tailscale.com/tailcfg"
	"tailscale.com/types/key"
)

func TestPinnedCertificate(t *testing.T) {
	t.Parallel()
	r := startRelay(t, setup{})

	t.Run("right pin", func(t *testing.T) {
		a, b := r.connect(t), r.connect(t)
		a.send(b.pub, "through a pinned relay")
		b.expectPacket(a.pub, "through a pinned relay")
	})
	t.Run("wrong pin", func(t *testing.T) {
		node := r.node()
		node.CertName = "sha256-raw:" + strings.Repeat("0", 64)
		expectNoConnect(t, "cert hash does not match", key.NewNode(), node)
	})
	t.Run("no pin", func(t *testing.T) {
		node := r.node()
		node.CertName = ""
		expectNoConnect(t, "certificate", key.NewNode(), node)
	})
	t.Run("certificate made for the address", func(t *testing.T) {
		cert := r.certificate()
		if err := cert.VerifyHostname("127.0.0.1"); err != nil {
			t.Error(err)
		}
		if cert.Subject.CommonName != "127.0.0.1" {
			t.Errorf("CN is %q", cert.Subject.CommonName)
		}
		if cert.PublicKeyAlgorithm != x509.ECDSA {
			t.Errorf("key is %v, want ECDSA", cert.PublicKeyAlgorithm)
		}
	})
	t.Run("kept over a restart", func(t *testing.T) {
		pin := r.pin()
		r.restart()
		if r.pin() != pin {
			t.Error("the pin has changed")
		}
		r.connect(t)
	})
}

func TestChainIsLeafAndMetaCertificate(t *testing.T) {
	t.Parallel()
	r := startRelay(t, setup{})
	c := r.connect(t)

	state, ok := c.TLSConnectionState()
	if !ok {
		t.Fatal("no TLS state")
	}
	if state.Version != tls.VersionTLS13 {
		t.Errorf("version is %s, want TLS 1.3", tls.VersionName(state.Version))
	}
	if n := len(state.PeerCertificates); n != 2 {
		t.Fatalf("the chain has %d certificates, want leaf and meta certificate", n)
	}
	leaf, meta := state.PeerCertificates[0], state.PeerCertificates[1]
	if !bytes.Equal(leaf.Raw, r.certificate().Raw) {
		t.Error("the first certificate is not the one in the certificate folder")
	}
	if want := "derpkey" + r.publicKey().UntypedHexString(); meta.Subject.CommonName != want {
		t.Errorf("the meta certificate's CN is %q, want %q", meta.Subject.CommonName, want)
	}
	if !meta.SerialNumber.IsInt64() || meta.SerialNumber.Int64() != derp.ProtocolVersion {
		t.Errorf("the meta certificate's serial is %v, want %d", meta.SerialNumber, derp.ProtocolVersion)
	}
	if !meta.BasicConstraintsValid || meta.IsCA {
		t.Errorf("basic constraints valid %v, CA %v; want true, false", meta.BasicConstraintsValid, meta.IsCA)
	}
	if err := meta.CheckSignature(meta.SignatureAlgorithm, meta.RawTBSCertificate, meta.Signature); err != nil {
		t.Errorf("the meta certificate's signature: %v", err)
	}
	checkDays(t, "notBefore", time.Since(meta.NotBefore))
	checkDays(t, "notAfter", time.Until(meta.NotAfter))
}

// checkDays checks for the 30 days of the meta certificate, give or take a day.
func checkDays(t *testing.T, name string, got time.Duration) {
	t.Helper()
	if days := got.Hours() / 24; days < 29 || days > 31 {
		t.Errorf("%s is %.1f days away, want 30", name, days)
	}
}

func TestFastStart(t *testing.T) {
	t.Parallel()
	r := startRelay(t, setup{})

	t.Run("the client knows the key before it reads", func(t *testing.T) {
		c := r.newClient(t, key.NewNode())
		defer c.Close()
		if err := c.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, want := c.ServerPublicKey(), r.publicKey(); got != want {
			t.Errorf("key is %v, want %v", got, want)
		}
	})
	t.Run("frames take the place of the HTTP answer", func(t *testing.T) {
		c := r.dialRaw(t)
		c.write([]byte(upgradeRequest + derp.FastStartHeader + ": 1\r\n\r\n"))
		c.readServerKey()
		if c.serverKey != r.publicKey() {
			t.Errorf("ServerKey holds %v, want %v", c.serverKey, r.publicKey())
		}
	})
	t.Run("request and ClientInfo in one record", func(t *testing.T) {
		priv := key.NewNode()
		c := r.dialRaw(t)
		c.serverKey = r.publicKey()
		info := c.clientInfo(priv, derp.ClientInfo{Version: derp.ProtocolVersion})
		ping := frame(derp.FramePing, []byte("12345678"))
		c.write([]byte(upgradeRequest + derp.FastStartHeader + ": 1\r\n\r\n" + string(info) + string(ping)))
		c.readServerKey()
		c.expectServerInfo(priv)
		if got := string(c.expectFrame(derp.FramePong)); got != "12345678" {
			t.Errorf("Pong holds %q", got)
		}
	})
}

func TestTLS12WithoutFastStart(t *testing.T) {
	t.Parallel()
	r := startRelay(t, setup{})
	priv := key.NewNode()
	dc := r.newClient(t, priv)
	dc.TLSConfig = &tls.Config{MaxVersion: tls.VersionTLS12}
	old := login(t, priv, dc)
	state, _ := old.TLSConnectionState()
	if state.Version != tls.VersionTLS12 {
		t.Fatalf("version is %s", tls.VersionName(state.Version))
	}
	if got, want := old.ServerPublicKey(), r.publicKey(); got != want {
		t.Errorf("key is %v, want %v", got, want)
	}
	modern := r.connect(t)
	old.send(modern.pub, "from 1.2 to 1.3")
	modern.expectPacket(old.pub, "from 1.2 to 1.3")
	modern.send(old.pub, "and back")
	old.expectPacket(modern.pub, "and back")
}

func TestTLSHandshakes(t *testing.T) {
	t.Parallel()
	r := startRelay(t, setup{})
	for _, test := range []struct {
		name string
		conf *tls.Config
		ok   bool
	}{
		{"TLS 1.1 is refused", &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, false},
		{"TLS 1.2", &tls.Config{MaxVersion: tls.VersionTLS12}, true},
		{"TLS 1.3 only", &tls.Config{MinVersion: tls.VersionTLS13}, true},
		{"ALPN http/1.1", &tls.Config{NextProtos: []string{"http/1.1"}}, true},
		{"ALPN h2 or http/1.1", &tls.Config{NextProtos: []string{"h2", "http/1.1"}}, true},
		{"unknown ALPN is refused", &tls.Config{NextProtos: []string{"gopher"}}, false},
		{"any server name", &tls.Config{ServerName: "some.other.name"}, true},
		{"X25519 only", &tls.Config{CurvePreferences: []tls.CurveID{tls.X25519}}, true},
		{"P-256 only", &tls.Config{CurvePreferences: []tls.CurveID{tls.CurveP256}}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.conf.InsecureSkipVerify = true
			dialer := &net.Dialer{Timeout: patience}
			c, err := tls.DialWithDialer(dialer, "tcp", r.addr(), test.conf)
			if !test.ok {
				if err == nil {
					c.Close()
					t.Fatal("the handshake succeeded")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			state := c.ConnectionState()
			if state.NegotiatedProtocol != "" && state.NegotiatedProtocol != "http/1.1" {
				t.Errorf("ALPN chose %q", state.NegotiatedProtocol)
			}
			if state.DidResume {
				t.Error("resumed")
			}
			req, _ := http.NewRequest("GET", "https://127.0.0.1/derp/probe", nil)
			res, err := (&http.Transport{
				DialTLSContext: func(context.Context, string, string) (net.Conn, error) { return c, nil },
			}).RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if res.StatusCode != http.StatusOK {
				t.Error(res.Status)
			}
		})
	}
}

func expectNoConnect(t *testing.T, message string, priv key.NodePrivate, node *tailcfg.DERPNode) {
	t.Helper()
	c := newRegionClient(priv, node)
	defer c.Close()
	err := c.Connect(t.Context())
	if err == nil {
		t.Fatal("the client connected")
	}
	if !strings.Contains(err.Error(), message) {
		t.Errorf("the error is %q, want one with %q", err, message)
	}
}
