"""HTTP for clients: `routes` lists the requests that they can send, the other modules answer them."""

from bender.api.app import site, site_of
from bender.api.server import NO_TLS, ApiSite

__all__ = ["NO_TLS", "ApiSite", "site", "site_of"]
