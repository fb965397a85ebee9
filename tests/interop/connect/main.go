// SPDX-License-Identifier: BSD-3-Clause

// Connect has two of Tailscale's clients meet at a relay. Its argument is the
// relay's entry in a DERP map, as JSON. It says "relayed" when a packet has
// come through, and once more for each line of its input, by the connections
// that it has: a connection that breaks ends it with an error.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"time"

	"tailscale.com/derp"
	"tailscale.com/derp/derphttp"
	"tailscale.com/net/netmon"
	"tailscale.com/tailcfg"
	"tailscale.com/types/key"
)

const patience = 10 * time.Second

type client struct {
	*derphttp.Client
	key key.NodePublic
}

func connect(node *tailcfg.DERPNode) client {
	region := &tailcfg.DERPRegion{RegionID: node.RegionID, Nodes: []*tailcfg.DERPNode{node}}
	priv := key.NewNode()
	c := derphttp.NewRegionClient(priv, func(string, ...any) {}, netmon.NewStatic(),
		func() *tailcfg.DERPRegion { return region })
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := c.Connect(ctx); err != nil {
		log.Fatalf("connecting: %v", err)
	}
	return client{c, priv.Public()}
}

// until reads until a message comes that is wanted.
func (c client) until(wanted func(derp.ReceivedMessage) bool) {
	for {
		message, err := c.Recv()
		if err != nil {
			log.Fatalf("receiving: %v", err)
		}
		if wanted(message) {
			return
		}
	}
}

// waitLogin returns when packets for c reach it.
func (c client) waitLogin() {
	c.until(func(m derp.ReceivedMessage) bool { _, is := m.(derp.ServerInfoMessage); return is })
}

func relay(from, to client, text string) {
	late := time.AfterFunc(patience, func() { log.Fatalf("waited %v for a packet", patience) })
	defer late.Stop()
	if err := from.Send(to.key, []byte(text)); err != nil {
		log.Fatalf("sending: %v", err)
	}
	to.until(func(m derp.ReceivedMessage) bool {
		packet, is := m.(derp.ReceivedPacket)
		return is && packet.Source == from.key && string(packet.Data) == text
	})
	fmt.Println("relayed")
}

func main() {
	log.SetFlags(0)
	var node tailcfg.DERPNode
	if len(os.Args) != 2 {
		log.Fatal("usage: connect DERP_NODE_AS_JSON")
	}
	if err := json.Unmarshal([]byte(os.Args[1]), &node); err != nil {
		log.Fatal(err)
	}
	a, b := connect(&node), connect(&node)
	a.waitLogin()
	b.waitLogin()
	relay(a, b, "at first")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		relay(a, b, lines.Text())
	}
}
