// SPDX-License-Identifier: BSD-3-Clause

package interop

import (
	"bytes"
	"net"
	"testing"
	"time"

	"tailscale.com/net/stun"
)

func TestSTUNAnswer(t *testing.T) {
	const answered = "stun_requests{disposition=\"success\"}"
	t.Parallel()
	r := startRelay(t, setup{})
	before := r.settledMetric(answered)
	tx := stun.NewTxID()
	answer, err := r.askSTUN(tx, patience)
	if err != nil {
		t.Fatal(err)
	}
	header := append([]byte{1, 1, 0, 12, 0x21, 0x12, 0xa4, 0x42}, tx[:]...)
	header = append(header, 0, 0x20, 0, 8, 0, 1)
	if len(answer) != 32 || !bytes.HasPrefix(answer, header) {
		t.Errorf("answer is %x, want 32 bytes that begin with %x", answer, header)
	}
	r.waitMetric(t, answered, before+1)
	r.waitMetric(t, "stun_addrfamily{family=\"ipv4\"}", before+1)
}

// settledMetric reads a metric once the requests that found the relay ready,
// some of them perhaps given up before their answer, are all counted.
func (r *relay) settledMetric(name string) float64 {
	r.t.Helper()
	before := r.metric(name)
	for {
		time.Sleep(200 * time.Millisecond)
		now := r.metric(name)
		if now == before {
			return now
		}
		before = now
	}
}

func TestSTUNAnswersOverIPv6(t *testing.T) {
	t.Parallel()
	r := startRelay(t, setup{everyIP: true})
	c, err := net.DialUDP("udp6", nil, &net.UDPAddr{IP: net.IPv6loopback, Port: r.stunPort})
	if err != nil {
		t.Skipf("no IPv6 on this machine: %v", err)
	}
	defer c.Close()
	tx := stun.NewTxID()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write(stun.Request(tx)); err != nil {
		t.Skipf("no IPv6 on this machine: %v", err)
	}
	buf := make([]byte, 1500)
	n, err := c.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	gotTx, mapped, err := stun.ParseResponse(buf[:n])
	if err != nil || gotTx != tx || mapped != c.LocalAddr().(*net.UDPAddr).AddrPort() {
		t.Errorf("answer is for %v (%v), want %v", mapped, err, c.LocalAddr())
	}
	if n != 44 {
		t.Errorf("answer has %d bytes, want 44", n)
	}
}

func TestSTUNDropsEverythingElse(t *testing.T) {
	t.Parallel()
	r := startRelay(t, setup{})
	good := stun.Request(stun.NewTxID())
	const notSTUN = "stun_requests{disposition=\"not_stun\"}"
	c, err := net.Dial("udp4", (&net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: r.stunPort}).String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()

	changed := func(i int, b byte) []byte {
		p := bytes.Clone(good)
		p[i] = b
		return p
	}
	var want float64
	for _, test := range []struct {
		name   string
		packet []byte
	}{
		{"one byte", []byte{0}},
		{"header only", good[:20]},
		{"cut", good[:len(good)-1]},
		{"wrong cookie", changed(4, 0)},
		{"a response", changed(0, 1)},
		{"another software", changed(24, 'T')},
		{"wrong fingerprint", changed(len(good)-1, good[len(good)-1]^1)},
		{"something behind the fingerprint", append(bytes.Clone(good), 0x80, 0x22, 0, 0)},
		{"text", []byte("hello, is this a STUN server? I hope so")},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := c.Write(test.packet); err != nil {
				t.Fatal(err)
			}
			want++
			r.waitMetric(t, notSTUN, want)
		})
	}
	c.SetReadDeadline(time.Now().Add(quiet))
	if n, err := c.Read(make([]byte, 1500)); err == nil {
		t.Errorf("got an answer of %d bytes", n)
	}
}
