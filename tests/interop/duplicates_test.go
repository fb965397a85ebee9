// SPDX-License-Identifier: BSD-3-Clause

package interop

import (
	"testing"

	"tailscale.com/derp"
	"tailscale.com/types/key"
)

func TestDuplicatesLastWriterIsActive(t *testing.T) {
	t.Parallel()
	r := startRelay(t, setup{})
	sender := r.connect(t)
	priv := key.NewNode()
	pub := priv.Public()
	reaches := func(c *client, text string) {
		t.Helper()
		sender.send(pub, text)
		c.expectPacket(sender.pub, text)
	}

	first := r.connectAs(t, priv)
	reaches(first, "the only one")
	second := r.connectAs(t, priv)
	reaches(second, "the newest")
	r.expectDuplicates(t, 1, 2)

	first.sync()
	reaches(first, "the first has pinged")
	second.send(sender.pub, "hello")
	sender.expectPacket(pub, "hello")
	reaches(second, "the second has sent")
	first.NotePreferred(true)
	r.waitMetric(t, "derp_current_home_connections", 1)
	reaches(first, "the first has noted its home")
	reaches(first, "reading does not count")

	first.Close()
	r.expectDuplicates(t, 0, 0)
	reaches(second, "the only one again")
	sender.expectQuiet()

	second.Close()
	sender.expectGone(pub, derp.PeerGoneReasonDisconnected)
	r.waitMetric(t, "derp_total_dup_client_conns", 1)
}

func TestDuplicatesOfThreeAreCounted(t *testing.T) {
	t.Parallel()
	r := startRelay(t, setup{})
	priv := key.NewNode()
	a, b, c := r.connectAs(t, priv), r.connectAs(t, priv), r.connectAs(t, priv)
	r.expectDuplicates(t, 1, 3)
	r.waitMetric(t, "derp_clients_local", 1)
	a.Close()
	r.expectDuplicates(t, 1, 2)
	b.Close()
	r.expectDuplicates(t, 0, 0)
	c.send(priv.Public(), "to myself")
	c.expectPacket(priv.Public(), "to myself")
}

// expectDuplicates waits for the gauges, which follow a closed connection.
func (r *relay) expectDuplicates(t *testing.T, keys, conns float64) {
	t.Helper()
	r.waitMetric(t, "derp_current_dup_client_keys", keys)
	r.waitMetric(t, "derp_current_dup_client_conns", conns)
}
