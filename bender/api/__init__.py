"""HTTP for clients: `routes` lists what they can ask for, the rest answers it through Twisted and Klein."""

from bender.api.app import site
from bender.api.server import NO_TLS

__all__ = ["NO_TLS", "site"]
