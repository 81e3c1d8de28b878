"""The command that lists the nodes of the cluster, each with its report about itself."""

from __future__ import annotations

from typing import Any

import msgspec

from bender.api.responses import ApiRequest, ApiResponse, array_response, encode
from bender.core.node_report import NodeReport, NoNodeReport
from bender.node.inquiries import all_reports
from bender.node.node import Node
from bender.node.status import api_address


async def list_nodes(node: Node, request: ApiRequest) -> ApiResponse:
    """Answer with all nodes, sorted by name and address. Each is asked for its report."""
    return array_response(request, [encode(node_fields(each)) for each in await all_reports(node)])


def node_fields(report: NodeReport | NoNodeReport) -> dict[str, Any]:
    """Return a node as clients see it; durations are in seconds."""
    if isinstance(report, NoNodeReport):
        return {"answered": False, **msgspec.structs.asdict(report)}
    return {
        "answered": True,
        "node": report.name,
        "address": report.address,
        "api": api_address(report),
        "incarnation": f"{report.incarnation:016x}",
        "version": report.version,
        "ready": report.ready,
        "uptime": report.uptime_s,
        "digest": f"{report.digest:016x}",
        "registrations": report.registrations,
        "hears": report.hears,
    }
