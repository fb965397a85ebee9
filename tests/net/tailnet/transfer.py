# SPDX-License-Identifier: BSD-3-Clause
"""A file from one node to another."""
import hashlib
import os

from .flow import PYTHON, SENT, NotRelayed, counters

PORT = 8000
BLOCK_BYTES = 1 << 20


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_file(path, mebibytes):
    with open(path, "wb") as file:
        for _ in range(mebibytes):
            file.write(os.urandom(BLOCK_BYTES))
    return path


def fetch(tailnet, receiver, sender, path):
    """By HTTP, through the relay. Returns the path of what arrived, and MB/s."""
    server = sender.namespace.start([PYTHON, "-u", "-m", "http.server", "--directory", os.path.dirname(path), PORT],
                                    os.path.join(sender.folder, "http.log"))
    arrived = os.path.join(receiver.folder, "arrived")
    try:
        server.wait_ready(lambda: "Serving" in server.log(), "the server of the file")
        before = counters(tailnet.relay)[SENT]
        speed = receiver.namespace.run(
            "curl", "-s", "-f", "--max-time", "120", "-o", arrived, "-w", "%{speed_download}",
            f"http://{sender.address}:{PORT}/{os.path.basename(path)}")
        relayed = counters(tailnet.relay)[SENT] - before
    finally:
        server.stop()
    if relayed < os.path.getsize(path):
        raise NotRelayed(f"{os.path.getsize(path)} bytes arrived, but the relay has sent {relayed:.0f} only")
    return arrived, float(speed) / 1e6
