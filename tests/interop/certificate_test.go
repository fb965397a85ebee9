// SPDX-License-Identifier: BSD-3-Clause

package interop

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// makeCertificate writes a self-signed certificate for name and its key into
// dir, by the file names that a relay looks for.
func makeCertificate(t *testing.T, dir, name string) {
	t.Helper()
	priv, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{
		SerialNumber:          big.NewInt(time.Now().UnixNano()),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(90 * 24 * time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &priv.PublicKey, priv)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		name + ".crt": {Type: "CERTIFICATE", Bytes: der},
		name + ".key": {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// withHostname returns a setup of a relay that is called localhost and has a
// certificate for that name.
func withHostname(t *testing.T) setup {
	t.Helper()
	dir := t.TempDir()
	makeCertificate(t, dir, "localhost")
	return setup{hostname: "localhost", certDir: dir}
}

func TestManualCertificate(t *testing.T) {
	t.Parallel()
	r := startRelay(t, withHostname(t))

	t.Run("clients", func(t *testing.T) {
		a, b := r.connect(t), r.connect(t)
		a.send(b.pub, "by name")
		b.expectPacket(a.pub, "by name")
		state, _ := a.TLSConnectionState()
		if n := len(state.PeerCertificates); n != 2 {
			t.Errorf("the chain has %d certificates, want 2", n)
		}
	})
	for _, test := range []struct {
		sni string
		ok  bool
	}{{"localhost", true}, {"other.example", false}, {"", false}} {
		t.Run("server name "+test.sni, func(t *testing.T) {
			if err := r.handshake(test.sni); (err == nil) != test.ok {
				t.Errorf("handshake: %v", err)
			}
		})
	}
	r.stop()
}

// handshake does one with the given server name, or with none.
func (r *relay) handshake(sni string) error {
	c, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", r.addr(),
		&tls.Config{ServerName: sni, InsecureSkipVerify: true})
	if err == nil {
		c.Close()
	}
	return err
}
