# SPDX-License-Identifier: BSD-3-Clause
"""TCP flows and the round-trip time beside them. Runs in a node's namespace as a program of its own:

    traffic.py receive PORT      until its input ends; echoes UDP meanwhile
    traffic.py send ADDRESS PORT FLOWS WARM_UP_S SECONDS CONGESTION_CONTROL      prints a line of JSON
    traffic.py watch ADDRESS PORT     until its input ends; then how long UDP was silent at most, as a line of JSON"""
import json
import select
import socket
import struct
import sys
import threading
import time

WRITE_BYTES = 256 * 1024
READ_BYTES = 256 * 1024
PROBE_INTERVAL_S = 0.01
PROBE_PATIENCE_S = 2.0
CONNECT_PATIENCE_S = 10
TCP_INFO_TOTAL_RETRANS = 100  # offset in struct tcp_info
STARTED, ASKED = b"s", b"a"


def percentile(values, share):
    """The value below which that share of them lies; nearest rank. None of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


class Receiver:
    """Counts what comes; a connection whose first byte is ASKED gets the count and nothing else."""

    def __init__(self, port):
        self.lock = threading.Lock()
        self.received = 0
        self.listening = socket.create_server(("", port), backlog=64)
        self.echo = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.echo.bind(("", port))

    def start(self):
        for work in (self.accept, self.answer_probes):
            threading.Thread(target=work, daemon=True).start()

    def answer_probes(self):
        while True:
            data, sender = self.echo.recvfrom(2048)
            self.echo.sendto(data, sender)

    def accept(self):
        while True:
            connection, _ = self.listening.accept()
            threading.Thread(target=self.serve, args=[connection], daemon=True).start()

    def serve(self, connection):
        with connection:
            if connection.recv(1) == ASKED:
                while connection.recv(1):
                    connection.sendall(struct.pack("!Q", self.received))
                return
            buffer = bytearray(READ_BYTES)
            while n := connection.recv_into(buffer):
                with self.lock:
                    self.received += n


class Sender:
    """As many flows as asked for, each sending what it can; one more connection asks how much has arrived."""

    def __init__(self, address, port, flows, congestion_control=None):
        self.address = (address, port)
        self.congestion_control = congestion_control
        self.counter = self.connect(ASKED)
        self.flows = [self.connect(STARTED) for _ in range(flows)]

    def connect(self, first):
        connection = socket.create_connection(self.address, CONNECT_PATIENCE_S)
        connection.settimeout(None)
        if self.congestion_control:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, self.congestion_control.encode())
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(first)
        return connection

    def start(self):
        for flow in self.flows:
            threading.Thread(target=self.fill, args=[flow], daemon=True).start()

    def fill(self, flow):
        data = bytes(WRITE_BYTES)
        try:
            while True:
                flow.sendall(data)
        except OSError:
            return  # stopped

    def received(self):
        self.counter.sendall(ASKED)
        return struct.unpack("!Q", self.counter.recv(8, socket.MSG_WAITALL))[0]

    def stop(self):
        for connection in (self.counter, *self.flows):
            connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def retransmits(self):
        total = 0
        for flow in self.flows:
            info = flow.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
            total += struct.unpack_from("I", info, TCP_INFO_TOTAL_RETRANS)[0]
        return total


class Probe:
    """Small packets that the receiver sends back."""

    def __init__(self, address, port):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.connect((address, port))
        self.socket.settimeout(PROBE_PATIENCE_S)
        self.sent = 0
        self.rtt_ms = []

    def listen(self):
        try:
            while data := self.socket.recv(64):
                self.rtt_ms.append(1000 * (time.monotonic() - struct.unpack("!d", data)[0]))
        except OSError:
            return

    def run(self, seconds):
        thread = threading.Thread(target=self.listen, daemon=True)
        thread.start()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.socket.send(struct.pack("!d", time.monotonic()))
            self.sent += 1
            time.sleep(PROBE_INTERVAL_S)

    def finish(self):
        """Waits for the last ones to come back."""
        time.sleep(PROBE_PATIENCE_S if len(self.rtt_ms) < self.sent else 0)
        self.socket.close()


def longest_silence_s(start_s, answers_s, end_s):
    """Between two neighbours of these."""
    times = [start_s, *answers_s, end_s]
    return max(after - before for before, after in zip(times, times[1:]))


def watch(address, port, ended):
    """Asks for echoes all the time until ended() is true; said by the JSON that it returns."""
    probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    probe.connect((address, port))
    probe.settimeout(PROBE_INTERVAL_S)
    answers_s, start_s = [], time.monotonic()
    while not ended():
        probe.send(b"?")
        try:
            probe.recv(64)
            answers_s.append(time.monotonic())
            time.sleep(PROBE_INTERVAL_S)
        except TimeoutError:
            pass
    return {"silence_s": round(longest_silence_s(start_s, answers_s, time.monotonic()), 2), "answers": len(answers_s)}


def input_ended():
    return bool(select.select([sys.stdin], [], [], 0)[0])


def send(address, port, flows, warm_up_s, seconds, congestion_control=None):
    sender = Sender(address, port, flows, congestion_control)
    probe = Probe(address, port)
    sender.start()
    time.sleep(warm_up_s)
    start_s, start_bytes, start_retransmits = time.monotonic(), sender.received(), sender.retransmits()
    probe.run(seconds)
    end_bytes = sender.received()
    took_s = time.monotonic() - start_s
    result = {"mbit_per_s": round(8e-6 * (end_bytes - start_bytes) / took_s, 2),
              "bytes": end_bytes - start_bytes, "retransmits": sender.retransmits() - start_retransmits}
    sender.stop()
    probe.finish()
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        value = percentile(probe.rtt_ms, share)
        result[f"rtt_{name}_ms"] = None if value is None else round(value, 2)
    result["probes_lost"] = probe.sent - len(probe.rtt_ms)
    return result


def main(words):
    if words[0] == "receive":
        Receiver(int(words[1])).start()
        print("ready", flush=True)
        sys.stdin.read()
        return
    if words[0] == "watch":
        print("ready", flush=True)
        print(json.dumps(watch(words[1], int(words[2]), input_ended)), flush=True)
        return
    address, port, flows, warm_up_s, seconds, congestion_control = words[1:]
    result = send(address, int(port), int(flows), float(warm_up_s), float(seconds), congestion_control)
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
