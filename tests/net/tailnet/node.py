# SPDX-License-Identifier: BSD-3-Clause
"""A machine of the tailnet: tailscaled in a namespace of its own."""
import json
import os

from .program import CommandFailed
from .waiting import wait_until

ENVIRONMENT = {"TS_NO_LOGS_NO_SUPPORT": "true", "TS_DISABLE_PORTMAPPER": "1", "TS_PANIC_IF_HIT_MAIN_CONTROL": "1"}
DEVICE = "tailscale0"


class Node:
    """`name` is its host name in the tailnet."""

    def __init__(self, programs, namespace, name, folder):
        self.programs = programs
        self.namespace = namespace
        self.name = name
        self.folder = folder
        self.socket = os.path.join(folder, "tailscaled.sock")
        self.log_file = os.path.join(folder, "tailscaled.log")
        self.running = None
        os.makedirs(folder)

    def start(self):
        env = {k: v for k, v in os.environ.items() if not k.startswith("TS_")}
        self.running = self.namespace.start(
            [self.programs["tailscaled"], "--statedir", self.folder, "--socket", self.socket, "--tun", DEVICE,
             "--no-logs-no-support"], self.log_file, env=dict(env, HOME=self.folder, **ENVIRONMENT))
        self.running.wait_ready(lambda: os.path.exists(self.socket), f"tailscaled of {self.name}")
        return self

    def say(self, *words):
        return self.namespace.run(self.programs["tailscale"], "--socket", self.socket, *words)

    def join(self, server, auth_key):
        self.say("up", "--login-server", server, "--auth-key", auth_key, "--hostname", self.name,
                 "--accept-dns=false", "--netfilter-mode=off", "--timeout=60s")
        return self

    def status(self):
        return json.loads(self.say("status", "--json"))

    @property
    def address(self):
        return self.status()["Self"]["TailscaleIPs"][0]

    def peer(self, name):
        """What it knows of another node, or None."""
        peers = (self.status().get("Peer") or {}).values()
        return next((p for p in peers if p["HostName"] == name), None)

    def wait_reaches(self, other):
        """Until a ping by Tailscale's own means comes back, whichever way."""
        address = other.address

        def reaches():
            try:
                return "pong" in self.say("ping", "--c=1", "--timeout=1s", "--until-direct=false", address)
            except CommandFailed:
                return False

        wait_until(reaches, f"{self.name} to reach {other.name}")

    def stop(self):
        if self.running:
            self.running.stop()
