"""A backend and a frontend, as clients send and receive them."""

from __future__ import annotations

SITE = {"name": "site", "app": "web", "version": "1.2.0"}
SITE_SHOWN = {"id": "backend/site", "resource": "Backend", **SITE}
EDGE_SHOWN = {"id": "frontend/edge", "resource": "Frontend", "name": "edge", "backend": None}
