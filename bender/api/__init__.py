"""HTTP for clients: `routes` lists what they can ask for, the rest answers it through Twisted and Klein."""

from bender.api.app import site, site_of
from bender.api.server import NO_TLS, ApiSite

__all__ = ["NO_TLS", "ApiSite", "site", "site_of"]
