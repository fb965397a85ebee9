# SPDX-License-Identifier: BSD-3-Clause
"""What stands between a client and Pebble: notes what is asked, and spoils what a test wants spoilt."""
import base64
import contextlib
import http.client
import http.server
import json
import os
import socket
import ssl
import struct
import threading
import time

KINDS = {
    "/dir": "directory", "/nonce-plz": "nonce", "/sign-me-up": "newAccount", "/my-account/": "account",
    "/order-plz": "newOrder", "/my-order/": "order", "/finalize-order/": "finalize", "/authZ/": "authorization",
    "/chalZ/": "challenge", "/certZ/": "certificate", "/rollover-account-key": "keyChange",
    "/draft-ietf-acme-ari-03/renewalInfo/": "renewalInfo",
}
HOP_BY_HOP = ("connection", "transfer-encoding", "content-length", "keep-alive")
CHUNK = b"x" * 65536


def decoded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Exchange:
    """One request, and the means to answer it."""

    def __init__(self, handler, body):
        self.handler, self.body = handler, body
        self.method, self.path = handler.command, handler.path
        self.kind = next((kind for path, kind in KINDS.items() if self.path.startswith(path)), "other")
        self.time = time.monotonic()
        self.status = None  # none yet
        self.sent = 0  # bytes of an endless body

    def part(self, name):
        text = decoded(json.loads(self.body)[name])
        return json.loads(text) if text else None

    @property
    def payload(self):
        return self.part("payload")

    @property
    def header(self):
        return self.part("protected")

    def forward(self):
        """Pebble's answer: status, headers, body."""
        pebble = self.handler.server.owner.pebble
        connection = http.client.HTTPSConnection("127.0.0.1", pebble.port, context=pebble.trust(), timeout=20)
        headers = {k: v for k, v in self.handler.headers.items() if k.lower() not in HOP_BY_HOP}
        with contextlib.closing(connection):
            connection.request(self.method, self.path, self.body or None, headers)
            answer = connection.getresponse()
            return (answer.status, [h for h in answer.getheaders() if h[0].lower() not in HOP_BY_HOP], answer.read())

    def begin(self, status, headers):
        self.status = status
        self.handler.send_response_only(status)
        for name, value in headers:
            self.handler.send_header(name, value)

    def send(self, status, headers, body):
        self.begin(status, headers)
        if not any(name.lower() == "content-length" for name, _ in headers):
            self.handler.send_header("Content-Length", str(len(body)))
        self.handler.end_headers()
        if self.method != "HEAD":
            self.handler.wfile.write(body)

    def reset(self):
        self.handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.handler.close_connection = True
        self.handler.connection.close()


# What can be done with an exchange.

def pass_on(exchange):
    exchange.send(*exchange.forward())


def answer(status, body=b"", headers=()):
    def act(exchange):
        exchange.send(status, list(headers), body if isinstance(body, bytes) else json.dumps(body).encode())
    return act


def problem(status, kind, detail, headers=()):
    return answer(status, {"type": "urn:ietf:params:acme:error:" + kind, "detail": detail},
                  [("Content-Type", "application/problem+json"), *headers])


def reset(exchange):
    exchange.reset()


def cut_short(exchange):
    """A part of the body, then the end of the connection."""
    status, headers, body = exchange.forward()
    exchange.send(status, headers + [("Content-Length", str(len(body) + 100))], body)
    exchange.handler.close_connection = True


def with_headers(*extra):
    """Pebble's answer with these headers in the place of its own of these names."""
    names = [name.lower() for name, _ in extra]

    def act(exchange):
        status, headers, body = exchange.forward()
        exchange.send(status, [h for h in headers if h[0].lower() not in names] + list(extra), body)
    return act


def changed(change):
    """Pebble's answer, whose JSON `change` has changed in place."""
    def act(exchange):
        status, headers, body = exchange.forward()
        value = json.loads(body)
        change(value)
        exchange.send(status, headers, json.dumps(value).encode())
    return act


def drip(exchange):
    """Pebble's answer, a byte a second."""
    status, headers, body = exchange.forward()
    exchange.begin(status, headers + [("Content-Length", str(len(body)))])
    exchange.handler.end_headers()
    for i in range(len(body)):
        exchange.handler.wfile.write(body[i:i + 1])
        time.sleep(1)


def endless(exchange):
    exchange.begin(200, [("Connection", "close")])
    exchange.handler.end_headers()
    exchange.handler.close_connection = True
    with contextlib.suppress(OSError):
        while True:
            exchange.handler.wfile.write(CHUNK)
            exchange.sent += len(CHUNK)


class Hold:
    """Keeps a client waiting, before Pebble has heard of it or when it has answered, until the test ends."""

    def __init__(self, forward):
        self.forward = forward
        self.reached, self.released = threading.Event(), threading.Event()

    def __call__(self, exchange):
        if self.forward:
            exchange.forward()
        self.reached.set()
        self.released.wait(60)
        exchange.reset()


class Gate(Hold):
    """A hold that can be opened: everything then goes on as if nothing had been."""

    def __init__(self):
        super().__init__(False)

    def open(self):
        self.released.set()

    def __call__(self, exchange):
        self.reached.set()
        self.released.wait(60)
        pass_on(exchange)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.owner.take(Exchange(self, body))

    do_GET = do_HEAD = do_POST = do

    def log_message(self, *words):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    owner = None

    def handle_error(self, request, client_address):
        """Clients that go are part of the tests."""


class Proxy:
    """Before `pebble`. `faults`: (kind, action, times or None for always), the first that fits is taken."""

    def __init__(self, pebble, port):
        self.pebble, self.port = pebble, port
        self.exchanges, self.faults = [], []
        self.lock = threading.Lock()
        self.server = None
        self.up()

    @property
    def directory(self):
        return f"https://127.0.0.1:{self.port}/dir"

    def up(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.pebble.config["certificate"], self.pebble.config["privateKey"])
        self.server = Server(("127.0.0.1", self.port), Handler)
        self.server.owner = self
        # The handshake happens in the thread of the connection.
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def down(self):
        """Nobody listens any more."""
        self.server.shutdown()
        self.server.server_close()

    def stop(self):
        self.down()
        for _, action, _ in self.faults:
            if isinstance(action, Hold):
                action.released.set()

    def fault(self, kind, action, times=None):
        with self.lock:
            self.faults.append([kind, action, times])
        return action

    def mend(self):
        with self.lock:
            self.faults.clear()

    def action_for(self, kind):
        with self.lock:
            for fault in self.faults:
                if fault[0] in (kind, "any") and fault[2] != 0:
                    if fault[2] is not None:
                        fault[2] -= 1
                    return fault[1]
        return pass_on

    def take(self, exchange):
        with self.lock:
            self.exchanges.append(exchange)
        self.action_for(exchange.kind)(exchange)

    def asked(self, kind):
        with self.lock:
            return [exchange for exchange in self.exchanges if exchange.kind == kind]

    def count(self, kind):
        return len(self.asked(kind))

    def told(self):
        """For a test that fails."""
        with self.lock:
            return "\n".join(f"{e.time:.2f} {e.method} {e.kind} {os.path.basename(e.path)} {e.status}"
                             for e in self.exchanges)
