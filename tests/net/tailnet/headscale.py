# SPDX-License-Identifier: BSD-3-Clause
"""The control server."""
import json
import os

from .program import CommandFailed
from .waiting import wait_until

CONFIG = """\
server_url: {url}
listen_addr: {address}:{port}
{tls}metrics_listen_addr: ""
grpc_listen_addr: 127.0.0.1:{grpc_port}
noise: {{private_key_path: {folder}/noise.key}}
prefixes: {{v4: 100.64.0.0/10, v6: fd7a:115c:a1e0::/48, allocation: sequential}}
derp:
  server: {{enabled: false}}
  urls: [{map_url}]
  paths: [{map_file}]
  auto_update_enabled: true
  update_frequency: 2s
disable_check_updates: true
database: {{type: sqlite, sqlite: {{path: {folder}/db.sqlite}}}}
dns: {{magic_dns: false, base_domain: tailnet.test, override_local_dns: false}}
unix_socket: {folder}/headscale.sock
log: {{level: info}}
"""
TLS = """\
tls_cert_path: {certificate}.crt
tls_key_path: {certificate}.key
"""
HTTPS_PORT = 443
USER = "test"
GRPC_ABOVE = 42363  # its port above that of HTTP


def derp_map(relays):
    """The DERP map of relays, one region each, as Headscale reads it."""
    lines = ["regions:"]
    for relay in relays:
        lines += [f"  {relay.region}:", f"    regionid: {relay.region}", f"    regioncode: r{relay.region}",
                  f"    regionname: Region {relay.region}", "    nodes:",
                  f"      - {{name: {relay.region}a, regionid: {relay.region}, hostname: {relay.address}, "
                  f"ipv4: {relay.address}, ipv6: none, derpport: {relay.port}, stunport: {relay.stun_port}, "
                  f"certname: 'sha256-raw:{relay.pin}'}}"]
    return "\n".join(lines) + "\n"


class Headscale:
    """With `domain` and an authority it serves HTTPS, at that port and under that name."""

    def __init__(self, program, namespace, address, folder, port=8080, domain=None, authority=None):
        self.program = program
        self.namespace = namespace
        self.folder = folder
        self.url = f"https://{domain}" if domain else f"http://{address}:{port}"
        self.address = address
        self.port = HTTPS_PORT if domain else port
        self.tls = TLS.format(certificate=os.path.join(folder, domain)) if domain else ""
        self.config = os.path.join(folder, "headscale.yaml")
        self.map_file = os.path.join(folder, "derp.yaml")
        os.makedirs(folder)
        if domain:
            authority.issue(domain, folder)
        self.configure(map_file=self.map_file)
        self.running = None

    def configure(self, map_file="", map_url=""):
        """Where the map comes from, as of the next start."""
        with open(self.config, "w", encoding="ascii") as file:
            file.write(CONFIG.format(
                url=self.url, address=self.address, port=self.port, tls=self.tls, grpc_port=self.port + GRPC_ABOVE,
                folder=self.folder, map_file=map_file, map_url=map_url))

    def set_relays(self, relays):
        """There must be a map before the start."""
        self.set_map(derp_map(relays))

    def set_map(self, text):
        """Nodes hear of a change within some seconds."""
        with open(self.map_file + ".new", "w", encoding="ascii") as file:
            file.write(text)
        os.replace(self.map_file + ".new", self.map_file)

    def start(self):
        self.running = self.namespace.start([self.program, "-c", self.config, "serve"], self.log_file)
        self.running.wait_ready(lambda: os.path.exists(os.path.join(self.folder, "headscale.sock")), "Headscale")
        wait_until(self.answers, "Headscale to answer")
        if not self.say("users", "list"):
            self.say("users", "create", USER)
        return self

    def answers(self):
        try:
            self.namespace.run("curl", "-s", "-f", "-o", "/dev/null", "--max-time", "5", self.url + "/health")
        except CommandFailed:
            return False
        return True

    @property
    def log_file(self):
        return os.path.join(self.folder, "headscale.log")

    def say(self, *words):
        return json.loads(self.namespace.run(self.program, "-c", self.config, *words, "-o", "json"))

    def auth_key(self):
        """A key by which any number of nodes may join."""
        user = next(u["id"] for u in self.say("users", "list") if u["name"] == USER)
        return self.say("preauthkeys", "create", "--user", str(user), "--reusable")["key"]

    def delete(self, name):
        """A node is one no more."""
        node = next(n["id"] for n in self.say("nodes", "list") if n["name"] == name)
        self.say("nodes", "delete", "--identifier", str(node), "--force")

    def stop(self):
        if self.running:
            self.running.stop()
