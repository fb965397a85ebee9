# SPDX-License-Identifier: BSD-3-Clause
"""Whom a relay asks who may connect: a tailscaled and an admission URL that are what a test wants them to be."""
import http.server
import json
import os
import select
import socketserver
import sys
import threading
import urllib.parse

from nacl.public import PrivateKey


class Answering(http.server.BaseHTTPRequestHandler):
    """Gives each request to `source.answer(path, body)`: (status, body), None for silence, b"…" for raw bytes."""
    source = None

    def address_string(self):
        return "local"

    def log_message(self, *_):
        pass

    def serve(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        answer = self.source.take(self, body)
        if answer is None:
            self.source.released.wait(30)
            self.close_connection = True
        elif isinstance(answer, bytes):
            self.wfile.write(answer)
            self.close_connection = True
        else:
            status, text = answer
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

    do_GET = do_POST = serve


def is_waited_at(connection):
    """Whether the other side has not given up."""
    poll = select.poll()
    poll.register(connection, select.POLLRDHUP)
    return not poll.poll(0)


class Source:
    """A server with a set of `members`, by public key; `fault`, when not None, is its answer to all."""

    def __init__(self, server_class, address):
        self.members = set()
        self.fault = None
        self.delay = 0
        self.asked = []
        self.released = threading.Event()
        self.lock = threading.Lock()
        self.open = set()
        self.most_open = 0
        handler = type("Handler", (Answering,), {"source": self})
        self.server = server_class(address, handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def take(self, request, body):
        with self.lock:
            self.open.add(request.connection)
            if len(self.open) > self.most_open:
                self.most_open = max(self.most_open, sum(map(is_waited_at, self.open)))
        if self.delay:
            self.released.wait(self.delay)
        with self.lock:
            self.open.discard(request.connection)
        fault = self.fault
        return fault() if callable(fault) else self.answer(request, body)

    def silent(self):
        self.fault = lambda: None

    def add(self, *keys):
        self.members.update(bytes(key.public_key) for key in keys)

    def stop(self):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class Threads(socketserver.ThreadingMixIn):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 1024

    def handle_error(self, request, address):
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, address)


class UnixServer(Threads, socketserver.UnixStreamServer):
    pass


class Agent(Source):
    """A tailscaled, as far as a relay asks it."""

    def __init__(self, path):
        self.path = str(path)
        self.state = "Running"
        self.self_key = bytes(PrivateKey.generate().public_key)
        if os.path.exists(self.path):
            os.unlink(self.path)
        super().__init__(UnixServer, self.path)
        self.members.add(self.self_key)

    def answer(self, request, _):
        url = urllib.parse.urlsplit(request.path)
        query = urllib.parse.parse_qs(url.query)
        if request.headers["Host"] != "local-tailscaled.sock":
            return 403, "invalid localapi request"
        if url.path == "/localapi/v0/status":
            key = f"nodekey:{self.self_key.hex()}"
            return 200, json.dumps({"BackendState": self.state, "Self": {"PublicKey": key}})
        name = query["addr"][0]
        key = bytes.fromhex(name.removeprefix("nodekey:"))
        with self.lock:
            self.asked.append(key)
        if url.path != "/localapi/v0/whois" or self.state != "Running" or key not in self.members:
            return 404, "no match for IP:port"
        return 200, json.dumps({"Node": {"Key": name}})


class TcpServer(Threads, socketserver.TCPServer):
    allow_reuse_address = True


class Verify(Source):
    """An admission URL; with `context` by https."""

    def __init__(self, context=None):
        self.addresses = []
        super().__init__(TcpServer, ("127.0.0.1", 0))
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        scheme = "https" if context else "http"
        self.url = f"{scheme}://localhost:{self.server.server_address[1]}/verify"

    def answer(self, _, body):
        question = json.loads(body)
        key = bytes.fromhex(question["NodePublic"].removeprefix("nodekey:"))
        with self.lock:
            self.asked.append(key)
            self.addresses.append(question["Source"])
        return 200, json.dumps({"Allow": key in self.members})
