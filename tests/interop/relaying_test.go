// SPDX-License-Identifier: BSD-3-Clause

package interop

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tailscale.com/derp"
	"tailscale.com/types/key"
)

// onTwoWorkers returns clients of the relay of which the last sits on another
// worker than the first. The original has no workers, and ours may have been
// told to have one; there any two will do.
func onTwoWorkers(t *testing.T, r *relay) []*client {
	t.Helper()
	if isOriginal() || slices.Contains(underTest.args, "--workers=1") {
		return []*client{r.connect(t), r.connect(t)}
	}
	before := r.workerConnections()
	if len(before) < 2 {
		t.Fatalf("the relay has %d workers, want at least 2", len(before))
	}
	var clients []*client
	for len(clients) < 64 {
		clients = append(clients, r.connect(t))
		var now map[string]float64
		waitFor(t, "the new client to be counted", func() bool {
			now = r.workerConnections()
			return sum(now) == sum(before)+float64(len(clients))
		})
		used := 0
		for w := range now {
			if now[w] > before[w] {
				used++
			}
		}
		if used > 1 {
			return clients
		}
	}
	t.Fatalf("%d clients are all on one worker", len(clients))
	return nil
}

func sum(counts map[string]float64) (total float64) {
	for _, v := range counts {
		total += v
	}
	return total
}

// TestAllPairs sends between all pairs of clients, of which some sit on
// different workers.
func TestAllPairs(t *testing.T) {
	t.Parallel()
	r := startRelay(t, setup{})
	clients := onTwoWorkers(t, r)
	for len(clients) < 8 {
		clients = append(clients, r.connect(t))
	}
	for i, from := range clients {
		for j, to := range clients {
			text := fmt.Sprintf("from %d to %d", i, j)
			if err := from.Send(to.pub, []byte(text)); err != nil {
				t.Fatal(err)
			}
			to.expectPacket(from.pub, text)
		}
	}
}

// TestTenThousandPacketsInOrder sends both ways at once between two workers.
// What is under way stays below the queue of 32 packets that the original has
// for each client, so nothing may be dropped.
func TestTenThousandPacketsInOrder(t *testing.T) {
	t.Parallel()
	r := startRelay(t, setup{})
	clients := onTwoWorkers(t, r)
	a, b := clients[0], clients[len(clients)-1]

	const packets, window = 10000, 16
	var senders, receivers sync.WaitGroup
	stream := func(from, to *client, seed uint64) {
		slots := make(chan struct{}, window)
		stop := make(chan struct{})
		senders.Go(func() {
			random := rand.New(rand.NewPCG(seed, 0))
			for i := range packets {
				select {
				case slots <- struct{}{}:
				case <-stop:
					return
				}
				if err := from.Send(to.pub, numbered(i, random)); err != nil {
					t.Errorf("packet %d: %v", i, err)
					return
				}
			}
		})
		receivers.Go(func() {
			defer close(stop)
			random := rand.New(rand.NewPCG(seed, 0))
			for i := range packets {
				var m derp.ReceivedMessage
				select {
				case m = <-to.msgs:
				case <-time.After(patience):
					t.Errorf("packet %d did not come", i)
					return
				}
				want := derp.ReceivedPacket{Source: from.pub, Data: numbered(i, random)}
				got, ok := m.(derp.ReceivedPacket)
				if !ok || got.Source != want.Source || !slices.Equal(got.Data, want.Data) {
					t.Errorf("packet %d is %s, want %s", i, describe(m), describe(want))
					return
				}
				<-slots
			}
		})
	}
	stream(a, b, 1)
	stream(b, a, 2)
	receivers.Wait()
	senders.Wait()

	r.waitMetric(t, "derp_packets_received", 2*packets)
	r.waitMetric(t, "derp_packets_sent", 2*packets)
}

// numbered returns packet i of a stream: its number and then 0 to 1400 bytes.
func numbered(i int, random *rand.Rand) []byte {
	b := make([]byte, 8+random.IntN(1401))
	binary.BigEndian.PutUint64(b, uint64(i))
	for j := 8; j < len(b); j++ {
		b[j] = byte(random.Uint32())
	}
	return b
}

func TestPacketSizes(t *testing.T) {
	t.Parallel()
	r := startRelay(t, setup{})
	clients := onTwoWorkers(t, r)
	a, b := clients[0], clients[len(clients)-1]
	for _, n := range []int{0, 1, 31, 32, 1280, 16384 - 37, 16384, 16385, 32768, derp.MaxPacketSize - 1, derp.MaxPacketSize} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			data := strings.Repeat("abcdefg", n/7+1)[:n]
			if err := a.Send(b.pub, []byte(data)); err != nil {
				t.Fatal(err)
			}
			got, ok := b.next().(derp.ReceivedPacket)
			if !ok || got.Source != a.pub || string(got.Data) != data {
				t.Fatalf("%d bytes did not arrive as sent", n)
			}
		})
	}
}

func TestPacketToOneself(t *testing.T) {
	t.Parallel()
	r := startRelay(t, setup{})
	c := r.connect(t)
	c.send(c.pub, "to myself")
	c.expectPacket(c.pub, "to myself")
}

// TestPacketRightAfterLogin shows that a client is known before it reads its
// ServerInfo.
func TestPacketRightAfterLogin(t *testing.T) {
	t.Parallel()
	r := startRelay(t, setup{})
	sender := r.connect(t)
	for range 50 {
		priv := key.NewNode()
		c := r.loginRaw(t, priv)
		if err := sender.Send(priv.Public(), []byte("welcome")); err != nil {
			t.Fatal(err)
		}
		if got := string(c.expectFrame(derp.FrameRecvPacket)[derp.KeyLen:]); got != "welcome" {
			t.Fatalf("got %q", got)
		}
		c.Close()
	}
}

// TestSlowReceiverHoldsNobodyUp has a client that never reads. Its sender and
// everybody else go on.
func TestSlowReceiverHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	r := startRelay(t, setup{})
	priv := key.NewNode()
	r.loginRaw(t, priv)
	sender, reader := r.connect(t), r.connect(t)
	large := make([]byte, derp.MaxPacketSize)
	for range 300 {
		if err := sender.Send(priv.Public(), large); err != nil {
			t.Fatal(err)
		}
	}
	sender.send(reader.pub, "past the slow one")
	reader.expectPacket(sender.pub, "past the slow one")
}
