# SPDX-License-Identifier: BSD-3-Clause
"""The metric names that existing dashboards use."""

GAUGES = [
    "derp_current_connections", "derp_current_home_connections", "derp_current_notideal_connections",
    "derp_clients_total", "derp_clients_local", "derp_clients_remote", "derp_watchers",
    "derp_current_file_descriptors", "derp_current_dup_client_keys", "derp_current_dup_client_conns",
    "derp_memstats_sys0", "derp_average_queue_duration_ms", "process_start_unix_time", "version",
]

COUNTERS = [
    "derp_accepts", "derp_bytes_received", "derp_bytes_sent", "derp_packets_sent", "derp_packets_received",
    "derp_packets_received_kind", "derp_packets_dropped", "derp_bytes_dropped", "derp_packets_forwarded_in",
    "derp_packets_forwarded_out", "derp_multiforwarder_created", "derp_multiforwarder_deleted",
    "derp_packet_forwarder_delete_other_value", "derp_unknown_frames", "derp_home_moves_in", "derp_home_moves_out",
    "derp_got_ping", "derp_sent_pong", "derp_peer_gone_disconnected_frames", "derp_peer_gone_not_here_frames",
    "derp_sclient_write_timeouts", "derp_total_dup_client_conns", "derp_websocket_accepts",
    "stun_requests", "stun_addrfamily", "tls_listener_accepted_connections", "tls_listener_rejected_connections",
    "uptime_sec",
    "bootstrap_dns_requests", "bootstrap_dns_published_hits", "bootstrap_dns_published_misses",
    "bootstrap_dns_unpublished_hits", "bootstrap_dns_unpublished_misses",
    "bootstrap_dns_unpublished_percent_misses", "bootstrap_dns_queried_domains",
]

HISTOGRAMS = ["derp_buffered_write_frames", "derp_mesh_update_batch_size", "derp_mesh_update_loop_count"]

DROP_REASONS = ["unknown_dest", "unknown_dest_on_fwd", "gone_disconnected", "queue_head", "queue_tail",
                "write_error", "dup_client"]
KINDS = ["disco", "other"]


def labelled(name, **labels):
    return name, tuple(sorted(labels.items()))


LABELLED = [
    labelled(name, reason=reason, kind=kind)
    for name in ("derp_packets_dropped", "derp_bytes_dropped") for reason in DROP_REASONS for kind in KINDS
] + [
    labelled("derp_packets_received_kind", kind=kind) for kind in KINDS
] + [
    labelled("stun_requests", disposition=d) for d in ("success", "not_stun", "read_error", "write_error")
] + [
    labelled("stun_addrfamily", family=f) for f in ("ipv4", "ipv6")
]
