# SPDX-License-Identifier: BSD-3-Clause
"""A machine of the tailnet: tailscaled in a namespace of its own."""
import json
import os

from .program import CommandFailed
from .waiting import wait_until

ENVIRONMENT = {"TS_NO_LOGS_NO_SUPPORT": "true", "TS_DISABLE_PORTMAPPER": "1", "TS_PANIC_IF_HIT_MAIN_CONTROL": "1"}
DEVICE = "tailscale0"
WITHOUT_DEVICE = "userspace-networking"  # several may be in one namespace then


def json_in(text):
    """What a command printed as JSON, behind the warnings that it printed first."""
    return json.JSONDecoder().raw_decode(text, text.index("{"))[0]


class Node:
    """`name` is its host name in the tailnet; `ca` a certificate file that it trusts besides the system's."""

    def __init__(self, programs, namespace, name, folder, ca, tun=DEVICE):
        self.programs = programs
        self.namespace = namespace
        self.name = name
        self.folder = folder
        self.socket = os.path.join(folder, "tailscaled.sock")
        self.log_file = os.path.join(folder, "tailscaled.log")
        self.tun = tun
        self.running = None
        os.makedirs(folder)
        env = {k: v for k, v in os.environ.items() if not k.startswith("TS_")}
        self.env = dict(env, HOME=folder, SSL_CERT_FILE=ca, **ENVIRONMENT)

    def start(self):
        self.running = self.namespace.start(
            [self.programs["tailscaled"], "--statedir", self.folder, "--socket", self.socket, "--tun", self.tun,
             "--no-logs-no-support"], self.log_file, env=self.env)
        self.running.wait_ready(lambda: os.path.exists(self.socket), f"tailscaled of {self.name}")
        return self

    def say(self, *words):
        return self.namespace.run(self.programs["tailscale"], "--socket", self.socket, *words, env=self.env)

    def join(self, server, auth_key):
        self.say("up", "--login-server", server, "--auth-key", auth_key, "--hostname", self.name,
                 "--accept-dns=false", "--netfilter-mode=off", "--timeout=60s")
        return self

    def status(self):
        return json.loads(self.say("status", "--json"))

    @property
    def key(self):
        """nodekey:…"""
        return self.status()["Self"]["PublicKey"]

    def netcheck(self):
        return json_in(self.say("netcheck", "--format=json"))

    def derp_map(self):
        return json_in(self.say("debug", "derp-map"))

    def debug_derp(self, region):
        """Info, warnings and errors of Tailscale's own look at the relay."""
        return json_in(self.say("debug", "derp", str(region)))

    @property
    def address(self):
        return self.status()["Self"]["TailscaleIPs"][0]

    def peer(self, name):
        """What it knows of another node, or None."""
        peers = (self.status().get("Peer") or {}).values()
        return next((p for p in peers if p["HostName"] == name), None)

    def knows(self, other):
        """Itself, too."""
        status = self.status()
        return other.key in {p["PublicKey"] for p in (status["Self"], *(status.get("Peer") or {}).values())}

    def ping(self, address):
        """By Tailscale's own means, whichever way. What was printed, or nothing when there was no answer."""
        try:
            return self.say("ping", "--c=1", "--timeout=1s", "--until-direct=false", address)
        except CommandFailed:
            return ""

    def wait_reaches(self, other):
        address = other.address
        wait_until(lambda: "pong" in self.ping(address), f"{self.name} to reach {other.name}")

    def forget(self):
        """Is a new node at the next start."""
        self.stop()
        for name in os.listdir(self.folder):
            if name.startswith("tailscaled.state"):
                os.remove(os.path.join(self.folder, name))

    def stop(self):
        if self.running:
            self.running.stop()
