// SPDX-License-Identifier: BSD-3-Clause

package interop

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"tailscale.com/net/stun"
	"tailscale.com/tailcfg"
	"tailscale.com/types/key"
)

// setup says how a relay is started; the zero value is the self-signed IP mode
// with STUN on loopback.
type setup struct {
	program  program  // zero: the one under test
	plain    bool     // no TLS, no STUN
	dev      bool     // --dev: plain on port 3340 of all addresses, fresh key
	everyIP  bool     // listen on the wildcard address
	hostname string   // "": the address, 127.0.0.1
	keyFile  string   // "": a new one
	certDir  string   // "": a new one
	port     int      // 0: a free one
	stunPort int      // 0: a free one
	args     []string // more arguments
	env      []string // more environment
}

// relay is one running relay process.
type relay struct {
	setup
	t       *testing.T
	dir     string // where the process runs
	cmd     *exec.Cmd
	log     syncBuffer
	exited  chan struct{}
	exitErr error // valid once exited is closed

	scraper *http.Client
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// startRelay starts a relay and returns when it answers.
func startRelay(t *testing.T, s setup) *relay {
	t.Helper()
	r := launchRelay(t, s)
	waitFor(t, "the relay to answer", func() bool {
		if r.hasExited() {
			t.Fatalf("the relay ended while starting: %v", r.exitErr)
		}
		return r.answers()
	})
	return r
}

// launchRelay starts a relay process and leaves it to the caller what becomes
// of it. The process is ended with the test.
func launchRelay(t *testing.T, s setup) *relay {
	t.Helper()
	dir := t.TempDir()
	if s.program.bin == "" {
		s.program = underTest
	}
	if s.keyFile == "" {
		s.keyFile = filepath.Join(dir, "derper.key")
	}
	if s.certDir == "" {
		s.certDir = filepath.Join(dir, "certs")
	}
	if s.port == 0 {
		s.port = freePort(t)
	}
	if s.stunPort == 0 {
		s.stunPort = freePort(t)
	}
	if s.hostname == "" {
		s.hostname = "127.0.0.1"
	}
	r := &relay{setup: s, t: t, dir: dir}
	r.launch()
	t.Cleanup(func() {
		if !r.hasExited() {
			r.cmd.Process.Kill()
			<-r.exited
		}
		r.scraper.CloseIdleConnections()
		if t.Failed() {
			t.Logf("log of %s %q:\n%s", s.program.kind, r.cmd.Args[1:], r.log.String())
		}
	})
	return r
}

func (r *relay) launch() {
	r.t.Helper()
	r.cmd = exec.Command(r.program.bin, r.arguments()...)
	r.cmd.Stdout = &r.log
	r.cmd.Stderr = &r.log
	r.cmd.Dir = r.dir
	r.cmd.Env = append(os.Environ(), "HOME="+r.dir)
	r.cmd.Env = append(r.cmd.Env, r.env...)
	if err := r.cmd.Start(); err != nil {
		r.t.Fatalf("starting the relay: %v", err)
	}
	// One connection for all scrapes: where per-worker counts include it, it
	// is a constant.
	r.scraper = &http.Client{
		Timeout: patience,
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: r.hostname},
			MaxConnsPerHost: 1,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	r.exited = make(chan struct{})
	go func(cmd *exec.Cmd, exited chan struct{}) {
		r.exitErr = cmd.Wait()
		close(exited)
	}(r.cmd, r.exited)
}

func (r *relay) arguments() []string {
	host := "127.0.0.1"
	if r.everyIP {
		host = ""
	}
	args := []string{"-a", net.JoinHostPort(host, fmt.Sprint(r.port))}
	switch {
	case r.dev:
		args = append(args, "--dev", "--stun=false")
	case r.plain:
		args = append(args, "-c", r.keyFile, "--http-port", "-1", "--stun=false")
		if r.program.kind == ours {
			args = append(args, "--tls=off") // ours serves plain HTTP only when it is told to
		}
	default:
		args = append(args, "-c", r.keyFile, "--http-port", "-1",
			"--hostname", r.hostname, "--certmode", "manual", "--certdir", r.certDir,
			"--stun-port", fmt.Sprint(r.stunPort))
	}
	args = append(args, r.args...)
	return append(args, r.program.args...)
}

func (r *relay) secure() bool { return !r.plain && !r.dev }

func (r *relay) addr() string {
	if r.dev {
		return "127.0.0.1:3340"
	}
	return fmt.Sprintf("127.0.0.1:%d", r.port)
}

func (r *relay) url(path string) string {
	if r.secure() {
		return "https://" + r.addr() + path
	}
	return "http://" + r.addr() + path
}

func (r *relay) answers() bool {
	res, err := r.scraper.Get(r.url("/derp/probe"))
	if err != nil {
		return false
	}
	res.Body.Close()
	if !r.secure() {
		return true
	}
	_, err = r.askSTUN(stun.NewTxID(), 100*time.Millisecond)
	return err == nil
}

// askSTUN sends one binding request over IPv4 and returns the raw answer.
func (r *relay) askSTUN(tx stun.TxID, wait time.Duration) ([]byte, error) {
	c, err := net.Dial("udp4", fmt.Sprintf("127.0.0.1:%d", r.stunPort))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if _, err := c.Write(stun.Request(tx)); err != nil {
		return nil, err
	}
	c.SetReadDeadline(time.Now().Add(wait))
	buf := make([]byte, 1500)
	n, err := c.Read(buf)
	if err != nil {
		return nil, err
	}
	_, mapped, err := stun.ParseResponse(buf[:n])
	if err != nil {
		return nil, err
	}
	if want := netip.MustParseAddrPort(c.LocalAddr().String()); mapped != want {
		return nil, fmt.Errorf("STUN answer says %v, the request came from %v", mapped, want)
	}
	return buf[:n], nil
}

func (r *relay) hasExited() bool {
	select {
	case <-r.exited:
		return true
	default:
		return false
	}
}

// stop asks the relay to end and checks that it does so without an error.
func (r *relay) stop() {
	r.t.Helper()
	if r.hasExited() {
		r.t.Fatalf("the relay had ended before it was asked to: %v", r.exitErr)
	}
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		r.t.Fatal(err)
	}
	if code := r.waitExit(); code != 0 {
		r.t.Fatalf("the relay ended with %v after SIGTERM", r.exitErr)
	}
}

// waitExit returns the exit code of a relay that is about to end, or -1 when a
// signal ended it.
func (r *relay) waitExit() int {
	r.t.Helper()
	select {
	case <-r.exited:
	case <-time.After(patience):
		r.t.Fatalf("the relay still runs after %v", patience)
	}
	var exit *exec.ExitError
	if errors.As(r.exitErr, &exit) {
		return exit.ExitCode()
	}
	if r.exitErr != nil {
		r.t.Fatal(r.exitErr)
	}
	return 0
}

// restart stops the relay and starts it again on the same ports with the same
// files.
func (r *relay) restart() {
	r.t.Helper()
	r.stop()
	r.scraper.CloseIdleConnections()
	r.launch()
	waitFor(r.t, "the restarted relay to answer", func() bool {
		if r.hasExited() {
			r.t.Fatalf("the relay ended while starting again: %v", r.exitErr)
		}
		return r.answers()
	})
}

// publicKey returns the key that the relay's key file holds.
func (r *relay) publicKey() key.NodePublic {
	r.t.Helper()
	return readKeyFile(r.t, r.keyFile).Public()
}

func readKeyFile(t *testing.T, path string) key.NodePrivate {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ PrivateKey key.NodePrivate }
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return file.PrivateKey
}

// certificate returns the certificate that the relay shows.
func (r *relay) certificate() *x509.Certificate {
	r.t.Helper()
	b, err := os.ReadFile(r.certFile())
	if err != nil {
		r.t.Fatal(err)
	}
	block, _ := pem.Decode(b)
	if block == nil {
		r.t.Fatalf("%s holds no PEM block", r.certFile())
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		r.t.Fatal(err)
	}
	return cert
}

func (r *relay) certFile() string { return filepath.Join(r.certDir, r.hostname+".crt") }

// pin is the CertName by which a client knows the relay's certificate.
func (r *relay) pin() string {
	r.t.Helper()
	return fmt.Sprintf("sha256-raw:%x", sha256.Sum256(r.certificate().Raw))
}

// node is the relay's entry in a DERP map.
func (r *relay) node() *tailcfg.DERPNode {
	r.t.Helper()
	return &tailcfg.DERPNode{
		Name:     "900a",
		RegionID: 900,
		HostName: r.hostname,
		IPv4:     "127.0.0.1",
		CertName: r.pin(),
		DERPPort: r.port,
		STUNPort: r.stunPort,
	}
}
