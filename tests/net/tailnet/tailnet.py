# SPDX-License-Identifier: BSD-3-Clause
"""All of it together."""
import contextlib
import os
import shutil
import sys
from dataclasses import dataclass

from . import programs
from .headscale import Headscale
from .namespace import Cable, Namespace, Wire, make_folder, remove_left_behind
from .node import Node
from .relay import Relay
from .waiting import wait_until

# On the loopback device of the middle, so that it is the same from every side.
MIDDLE_ADDRESS = "192.0.2.1"
CONGESTION_CONTROL = "cubic"  # what a machine has if nobody has changed it
LOG_TAIL_BYTES = 4000


@dataclass
class Link:
    """Between a node and the relay: the rate is that of each direction, the delay that of one way, the buffer what a
    router has in front of it."""
    mbit_per_s: float
    delay_ms: float = 0
    buffer_ms: float = 50
    loss_percent: float = 0


class Tailnet:
    """A context manager: inside it, a relay and nodes that reach each other through it and in no other way.

        with Tailnet({"a": None, "b": Link(10, delay_ms=20)}) as tailnet:
            tailnet.start_relay("build/derper/derper")
            tailnet.join()
            tailnet.nodes["a"].wait_reaches(tailnet.nodes["b"])

    `links` names the nodes and says how each is connected; None is a cable without limits."""

    def __init__(self, links, congestion_control=CONGESTION_CONTROL):
        self.links = links
        self.congestion_control = congestion_control
        self.nodes = {}
        self.cleanup = contextlib.ExitStack()

    def __enter__(self):
        self.programs = programs.build()
        remove_left_behind()
        with contextlib.ExitStack() as stack:
            self.cleanup = stack
            self.folder = make_folder()
            stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
            self.build()
            self.cleanup = stack.pop_all()
        return self

    def __exit__(self, kind, error, trace):
        if error and not isinstance(error, KeyboardInterrupt):
            self.dump_logs()
        self.cleanup.close()

    def build(self):
        self.middle = self.namespace()
        self.middle.sysctl("net.ipv4.ip_forward", 0)
        self.middle.run("ip", "address", "add", MIDDLE_ADDRESS + "/32", "dev", "lo")
        self.relay = Relay(self.middle, MIDDLE_ADDRESS, self.subfolder("relay"))
        self.cleanup.callback(self.relay.stop)
        self.headscale = Headscale(self.programs["headscale"], self.middle, MIDDLE_ADDRESS, self.subfolder("headscale"))
        self.headscale.set_relays([self.relay])
        self.cleanup.callback(self.headscale.stop)
        self.headscale.start()
        for number, (name, link) in enumerate(self.links.items(), 1):
            namespace = self.namespace()
            self.connect(namespace, name, number, link)
            self.nodes[name] = Node(self.programs, namespace, name, self.subfolder(name))
            self.cleanup.callback(self.nodes[name].stop)

    def namespace(self):
        namespace = Namespace()
        self.cleanup.callback(namespace.delete)
        return namespace

    def subfolder(self, name):
        return os.path.join(self.folder, name)

    def connect(self, namespace, name, number, link):
        """A subnet for the node and the middle. Routes name the congestion control: other than by sysctl, that is
        allowed whatever the machine's own default is."""
        ends = (self.middle, f"to-{name}", namespace, "eth0")
        joined = Wire(self.programs["wire"], *ends, link, self.subfolder("wire.log")) if link else Cable(*ends)
        self.cleanup.callback(joined.stop)
        subnet, ours, theirs = (f"198.51.100.{4 * number + i}" for i in range(3))
        self.middle.address(f"to-{name}", ours)
        self.middle.route(subnet + "/30", f"to-{name}", self.congestion_control)
        namespace.address("eth0", theirs)
        namespace.route(subnet + "/30", "eth0", self.congestion_control)
        namespace.route("default", "eth0", self.congestion_control, via=ours)

    def start_relay(self, program, arguments=(), env=None):
        """Starts the relay, or puts another in the place of the one that runs."""
        self.relay.stop()
        self.relay.start(os.path.abspath(program), arguments, env)

    def join(self):
        """All nodes log in at the control server and at the relay."""
        key = self.headscale.auth_key()
        for node in self.nodes.values():
            node.start().join(self.headscale.url, key)
        self.wait_connected()

    def wait_connected(self):
        wait_until(lambda: self.relay.varz().get("derp_current_home_connections", 0) >= len(self.nodes),
                   "all nodes to be at home at the relay")

    def dump_logs(self):
        logs = [self.relay.log_file, self.headscale.log_file, *(node.log_file for node in self.nodes.values())]
        for path in filter(os.path.exists, logs):
            with open(path, encoding="utf-8", errors="backslashreplace") as file:
                print(f"--- end of {os.path.relpath(path, self.folder)}\n{file.read()[-LOG_TAIL_BYTES:]}",
                      file=sys.stderr)
