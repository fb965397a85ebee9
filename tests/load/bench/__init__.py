# SPDX-License-Identifier: BSD-3-Clause
"""What scripts/bench is made of: builds, relays, cells, and the table."""
