# SPDX-License-Identifier: BSD-3-Clause
"""All of it together."""
import contextlib
import glob
import os
import shutil
import sys
from dataclasses import dataclass

from . import programs
from .authority import Authority
from .headscale import Headscale
from .namespace import Cable, Namespace, Wire, make_folder, remove_left_behind
from .node import WITHOUT_DEVICE, Node
from .relay import Relay
from .waiting import wait_until

# On the loopback device of the middle, so that it is the same from every side.
# They and the names are those of the README, so that its commands run as they are.
MIDDLE_ADDRESS = "203.0.113.1"
DOMAIN = "derp.example.com"  # the same, by name
HEADSCALE_DOMAIN = "headscale.example.com"  # and by another, for a Headscale with a certificate
MIDDLE_ADDRESS6 = "2001:db8::1"
HOSTS = (f"127.0.0.1 localhost\n{MIDDLE_ADDRESS} {DOMAIN} {HEADSCALE_DOMAIN}\n"
         f"{MIDDLE_ADDRESS6} {DOMAIN} {HEADSCALE_DOMAIN}\n")
NO_SERVER = "nameserver 127.0.0.1\n"  # what is not in hosts is not there, and that at once
HEADSCALE_ADDRESS = "10.0.0.1"  # a private one, or nodes insist on HTTPS after a while
HEADSCALE_PORT = 8080
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
        self.machines = 0
        self.namespaces = []
        self.headscales = []
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
            for title, text in self.logs():
                print(f"--- {title}\n{text}", file=sys.stderr)
        self.cleanup.close()

    def build(self):
        self.authority = Authority(self.subfolder("ca"))
        os.mkdir(self.subfolder("etc"))
        for name, text in (("hosts", HOSTS), ("resolv.conf", NO_SERVER)):
            with open(self.subfolder(os.path.join("etc", name)), "w", encoding="ascii") as file:
                file.write(text)
        shutil.copy(self.authority.certificate, self.subfolder("etc/ca-certificates.crt"))
        self.middle = self.namespace()
        self.middle.sysctl("net.ipv4.ip_forward", 0)
        for address in (MIDDLE_ADDRESS + "/32", MIDDLE_ADDRESS6 + "/128", HEADSCALE_ADDRESS + "/32"):
            self.middle.address("lo", address)
        self.relay = Relay(self.middle, MIDDLE_ADDRESS, self.subfolder("relay"))
        self.cleanup.callback(self.relay.stop)
        self.headscale = self.add_headscale()
        for name, link in self.links.items():
            self.nodes[name] = self.add_node(name, link)

    def namespace(self):
        namespace = Namespace(self.subfolder("etc"))
        self.namespaces.append(namespace)
        self.cleanup.callback(namespace.delete)
        return namespace

    def add_headscale(self, address=HEADSCALE_ADDRESS, domain=None):
        """The control server of one more network. With `domain` it has a certificate, and the port of HTTPS."""
        number = len(self.headscales)
        headscale = Headscale(self.programs["headscale"], self.middle, address, self.subfolder(f"headscale{number}"),
                              HEADSCALE_PORT + number, domain, self.authority)
        self.headscales.append(headscale)
        self.cleanup.callback(headscale.stop)
        headscale.set_relays([self.relay])
        return headscale.start()

    def add_node(self, name, link=None):
        """A machine of its own, which has not joined yet."""
        namespace = self.namespace()
        self.machines += 1
        self.connect(namespace, name, self.machines, link)
        return self.with_node(namespace, name)

    def add_agent(self, name, tun=WITHOUT_DEVICE):
        """The same on the relay's machine, where one may have a device."""
        return self.with_node(self.middle, name, tun=tun)

    def with_node(self, namespace, name, **options):
        node = Node(self.programs, namespace, name, self.subfolder(name), self.authority.certificate, **options)
        self.cleanup.callback(node.stop)
        return node

    def subfolder(self, name):
        return os.path.join(self.folder, name)

    def connect(self, namespace, name, number, link):
        """A subnet for the node and the middle. Routes name the congestion control: other than by sysctl, that is
        allowed whatever the machine's own default is."""
        ends = (self.middle, f"to-{name}", namespace, "eth0")
        joined = Wire(self.programs["wire"], *ends, link, self.subfolder("wire.log")) if link else Cable(*ends)
        self.cleanup.callback(joined.stop)
        subnet, ours, theirs = (f"198.51.100.{4 * number + i}" for i in range(3))
        ours6, theirs6 = (f"2001:db8:{number}::{i}" for i in (1, 2))
        self.middle.address(f"to-{name}", ours)
        self.middle.address(f"to-{name}", ours6 + "/64")
        self.middle.route(subnet + "/30", f"to-{name}", self.congestion_control)
        namespace.address("eth0", theirs)
        namespace.route(subnet + "/30", "eth0", self.congestion_control)
        namespace.route("default", "eth0", self.congestion_control, via=ours)
        namespace.address("eth0", theirs6 + "/64")
        namespace.run("ip", "-6", "route", "add", "default", "via", ours6, "dev", "eth0")

    def start_relay(self, program, arguments=(), env=None, hostname=None):
        """Starts the relay, or puts another in the place of the one that runs."""
        self.relay.stop()
        self.relay.start(os.path.abspath(program), arguments, env, hostname)

    def join(self):
        """All nodes log in at the control server and at the relay."""
        key = self.headscale.auth_key()
        for node in self.nodes.values():
            node.start().join(self.headscale.url, key)
        self.wait_connected()

    def wait_connected(self):
        wait_until(lambda: self.relay.varz().get("derp_current_home_connections", 0) >= len(self.nodes),
                   "all nodes to be at home at the relay")

    def logs(self):
        """The end of each, with a title."""
        ends = []
        for path in sorted(glob.glob(self.subfolder("*/*.log"))):
            with open(path, encoding="utf-8", errors="backslashreplace") as file:
                ends.append((f"end of {os.path.relpath(path, self.folder)}", file.read()[-LOG_TAIL_BYTES:]))
        return ends
