"""The metrics of a node, one family after the other, read from the node when Prometheus requests them.

`docs/monitoring/metrics.md` explains each of them. Metrics whose labels clients choose are in `registry_metrics`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import chain

from prometheus_client.metrics_core import Metric

from bender.api.registry_metrics import backend_metrics, registration_metrics
from bender.core.diagnosis import heard_s
from bender.core.peers import PeerState
from bender.core.view import Change, Reason
from bender.metrics.exposition import build_info, counter, counters, gauge, gauges, histograms, process_metrics
from bender.node.limits import LimitUse
from bender.node.node import Node
from bender.node.status import limit_uses, problems_by_kind

#: The states of peers. A replaced node is not a peer any more.
PEER_STATES: tuple[PeerState, ...] = ("heard", "silent", "left")

#: Frequent events. Their counts are shown before the first event, so that Prometheus can compute its rate.
USUAL_EVENTS: tuple[tuple[Change, Reason], ...] = (
    ("online", "registered"),
    ("online", "restored"),
    ("offline", "deregistered"),
    ("offline", "expired"),
    ("offline", "check-failed"),
    ("offline", "node-lost"),
    ("changed", "registered"),
    ("changed", "configured"),
    ("created", "configured"),
    ("removed", "configured"),
)

#: A digest has 64 bits, but the value of a sample only 53.
_DIGEST_BITS_DROPPED = 11


def node_families(node: Node) -> Iterator[Metric | None]:
    """Yield all metrics of a node. It yields None after a slice of the work for one of them."""
    return chain(
        (build_info("bender"),),
        _state_families(node),
        registration_metrics(node),
        backend_metrics(node),
        _traffic_families(node),
        _peer_families(node),
        _work_families(node),
        _request_families(node),
        _watcher_families(node),
        _limit_families(node),
        _certificate_families(node),
        process_metrics(),
    )


def _state_families(node: Node) -> Iterator[Metric]:
    replica = node.replica
    about = "The name and cluster of this node, and its address for peers; the value is always 1."
    labels = (node.name, node.cluster, replica.identity.address)
    yield gauges("node_info", about, ("node", "cluster", "address"), [(labels, 1)])
    yield gauge("ready", "1 if this node answers clients, 0 while it waits for its peers.", node.ready)
    yield gauge("uptime_seconds", "Time since this node started.", node.now() - node.started_at)
    yield gauge("claims", "Claims and ends of all nodes that this node knows.", replica.entry_count)
    yield gauge("claims_own", "Claims and ends of this node.", replica.own_entry_count)
    yield gauge("backends", "Backends that are set.", len(replica.settings("backend")))
    yield gauge("frontends", "Frontends that are set.", len(replica.settings("frontend")))
    about = "Registrations that are not listed because the nodes which heard from them are silent."
    yield gauge("registrations_hidden", about, replica.view.hidden_count)
    about = "Claims and ends of this node that are due, and wait until its peers have confirmed that."
    yield gauge("pending_lapses", about, replica.pending_lapse_count)
    about = "A digest of the state, as a number: equal on all nodes with the same state."
    yield gauge("state_digest", about, replica.digest() >> _DIGEST_BITS_DROPPED)
    about = "Apps and backends that a protocol cannot express, by the option that switches it on."
    yield gauges("left_out", about, ("protocol",), (((name,), count()) for name, count in node.limits.left_out.items()))
    about = "Problems that /status shows, by kind."
    yield gauges("problems", about, ("kind",), (((kind,), count) for kind, count in problems_by_kind(node).items()))


def _traffic_families(node: Node) -> Iterator[Metric]:
    counts = node.counters
    yield counter("registrations_made", "Registrations that began at this node.", counts.registered)
    yield counter("renewals", "Registrations that were renewed or changed at this node.", counts.renewed)
    about = "Events of registrations, backends and frontends, by what happened and why."
    events = sorted((dict.fromkeys(USUAL_EVENTS, 0) | node.journal.counts).items())
    yield counters("events", about, ("event", "reason"), events)


def _peer_families(node: Node) -> Iterator[Metric]:
    peers, now = node.replica.peers, node.now()
    states = Counter(peers.state(peer, now) for peer in peers)
    about = "Other nodes, by whether this node hears them."
    yield gauges("peers", about, ("state",), (((state,), states[state]) for state in PEER_STATES))
    lags: dict[tuple[str, str], float] = {}
    for peer in peers:
        lag_s = None if peer.is_gone else heard_s(peer, now)
        if lag_s is not None:
            lags[peer.name, peer.address] = min(lag_s, lags.get((peer.name, peer.address), lag_s))
    about = "Time since a peer was heard; about the interval at most while all is well."
    yield gauges("peer_lag_seconds", about, ("peer", "address"), lags.items())
    counts = node.counters
    about = "Requests to peers that were answered, or not answered validly and in time."
    results = [(("answered",), counts.answered), (("failed",), counts.failed)]
    yield counters("peer_requests", about, ("result",), results)
    yield counter("peer_requests_sent", "Requests to peers, rounds and pushes alike.", counts.requests)
    yield counter("peer_requests_received", "Requests of peers.", counts.received)
    yield counter("peer_sent_bytes", "Bytes of messages to peers, without those of HTTP.", counts.bytes_sent)
    yield counter("peer_received_bytes", "Bytes of messages from peers, without those of HTTP.", counts.bytes_received)


def _work_families(node: Node) -> Iterator[Metric]:
    counts = node.counters
    yield counter("rounds", "Rounds, in which this node sends a heartbeat to its peers.", counts.rounds)
    yield counter("rounds_failed", "Rounds that failed because of a defect in bender.", counts.rounds_failed)
    about = "Sweeps, in which this node looks for what has lapsed, is silent or can be forgotten."
    yield counter("sweeps", about, counts.sweeps)
    yield counter("sweeps_failed", "Sweeps that failed because of a defect in bender.", counts.sweeps_failed)
    about = "How late timers were: the time for which everything waits that comes to this node."
    yield histograms("reactor_lag_seconds", about, (), [((), node.load.lag)])
    about = "The largest lag of the last minute or two: about the longest turn of the reactor."
    yield gauge("reactor_lag_max_seconds", about, node.load.longest.value)


def _request_families(node: Node) -> Iterator[Metric]:
    routes = sorted(node.requests, key=lambda each: (each.route, each.method))
    about = "Requests of clients over HTTP that were answered, by route, method and status."
    answered = (
        ((each.route, each.method, str(status)), histogram.count)
        for each in routes
        for status, histogram in sorted(each.by_status.items())
    )
    yield counters("http_requests", about, ("route", "method", "code"), answered)
    failed = sum(histogram.count for each in routes for status, histogram in each.by_status.items() if status == 500)
    yield counter("http_requests_failed", "Requests that failed because of a defect in bender.", failed)
    timed = (((each.route, each.method), each.total()) for each in routes if each.timed)
    about = "Time from when a request was read to its answer, by route and method; streams of events have none."
    yield histograms("http_request_duration_seconds", about, ("route", "method"), timed)
    counts = node.counters
    about = "Requests that were denied: without a valid token, with one that does not permit them, or by a web page."
    denied = [(("unauthorized",), counts.unauthorized), (("forbidden",), counts.forbidden)]
    yield counters("requests_denied", about, ("reason",), denied)
    about = "Requests that were turned away because they waited too long at this overloaded node."
    yield counter("requests_turned_away", about, counts.turned_away)
    yield counter("dns_queries", "Messages that came over DNS.", counts.dns_queries)
    yield counter("dns_truncated", "Answers over DNS without all of their records.", counts.dns_truncated)
    yield counter("dns_dropped", "Messages over DNS that got no answer.", counts.dns_dropped)
    yield counter("tls_refused", "Clients with which no TLS connection could be made.", counts.tls_refused)


def _watcher_families(node: Node) -> Iterator[Metric]:
    yield gauge("subscribers", "Clients that receive events, by whatever protocol.", node.journal.listeners)
    counts = node.counters
    about = "Clients whose events ended: they did not read them, or another client needed the place."
    dropped = [(("slow",), counts.dropped), (("displaced",), counts.displaced)]
    yield counters("subscribers_dropped", about, ("reason",), dropped)


def _limit_families(node: Node) -> Iterator[Metric]:
    uses: list[tuple[str, LimitUse]] = [*limit_uses(node).items()]
    limited = (((name,), use.maximum) for name, use in uses if use.maximum is not None)
    yield gauges("limit_max", "A limit of this node, by its name in /status.", ("limit",), limited)
    used = (((name,), use.used) for name, use in uses)
    yield gauges("limit_used", "How far a limit is used at present.", ("limit",), used)
    peak = (((name,), use.peak) for name, use in uses)
    yield gauges("limit_peak", "How far a limit was used at most since the start.", ("limit",), peak)
    refused = (((name,), use.refused) for name, use in uses)
    yield counters("limit_refused", "How often a limit refused something.", ("limit",), refused)


def _certificate_families(node: Node) -> Iterator[Metric]:
    about = "When a certificate expires, in seconds since the epoch, by the option that names it."
    expiry = (((option,), at_ms / 1000) for option, at_ms in sorted(node.certificates.items()))
    yield gauges("certificate_expiry_timestamp_seconds", about, ("option",), expiry)
