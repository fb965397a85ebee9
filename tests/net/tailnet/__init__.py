# SPDX-License-Identifier: BSD-3-Clause
"""A real tailnet on this machine: Headscale, a relay and tailscaled nodes, each in a network namespace of its own.

The relay's namespace lies between those of the nodes and does not forward, so whatever two nodes say to each other goes
through the relay. Needs root, iproute2 and /dev/net/tun. See tailnet.Tailnet for how the parts fit together."""
