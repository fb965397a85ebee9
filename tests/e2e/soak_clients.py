# SPDX-License-Identifier: BSD-3-Clause
"""A crowd that connects, sends, vanishes and returns; run by test_soak.py in several processes.

Arguments: address, port, number of clients, seconds (0 = one cycle), seed. Prints what it did as JSON.
"""
import json
import random
import sys
import time

from nacl.public import PrivateKey

from peer import Closed, Peer, Quiet, RECV_PACKET, disco, send_packet

PACKETS_EACH = 5


class Crowd:
    def __init__(self, address, count, seed):
        self.address = address
        self.random = random.Random(seed)
        self.keys = [PrivateKey.generate() for _ in range(count)]
        self.live = [None] * count
        self.done = {"logins": 0, "sent": 0, "received": 0, "vanished": 0}

    def connect(self, i):
        peer = Peer(self.address, self.keys[i])
        peer.start_tls()
        if self.random.random() < 0.5:
            peer.login()
        else:
            peer.key_of_meta_certificate()
            peer.write(peer.upgrade_request(fast=True) + peer.client_info())
            peer.read_server_key()
            peer.read_server_info()
        self.live[i] = peer
        self.done["logins"] += 1

    def talk(self, i):
        peer = self.live[i]
        for _ in range(PACKETS_EACH):
            to = self.random.choice(self.keys)
            data = bytes(self.random.choice((0, 100, 1200, 9000)))
            peer.send(bytes(to.public_key), disco(data) if self.random.random() < 0.2 else data)
            self.done["sent"] += 1

    def listen(self, i):
        try:
            while True:
                kind, _ = self.live[i].next_frame(0)
                self.done["received"] += kind == RECV_PACKET
        except Quiet:
            pass

    def vanish(self, i):
        peer, self.live[i] = self.live[i], None
        way = self.random.choice(["close", "reset", "half-close", "goodbye", "amid a frame"])
        if way == "amid a frame":
            peer.write(send_packet(peer.public, bytes(1000))[:500])
        if way == "half-close":
            peer.half_close()
        if way == "goodbye":
            peer.half_close(notify=True)
        if way == "reset":
            peer.reset()
        else:
            peer.close()
        self.done["vanished"] += 1

    def cycle(self):
        order = list(range(len(self.keys)))
        for step in (self.connect, self.talk, self.listen, self.vanish):
            self.random.shuffle(order)
            for i in order:
                step(i)


def main():
    host, port, count, seconds, seed = sys.argv[1], *map(int, sys.argv[2:])
    crowd = Crowd((host, port), count, seed)
    end = time.monotonic() + seconds
    cycles = 0
    try:
        while True:
            crowd.cycle()
            cycles += 1
            if time.monotonic() >= end:
                break
    except Closed as fault:
        sys.exit(f"the relay ended a good connection after {cycles} cycles: {fault}")
    print(json.dumps(dict(crowd.done, cycles=cycles)))


main()
