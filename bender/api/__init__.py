"""HTTP for clients: `commands` is what they can ask for, the rest brings it to them through Twisted and Klein."""

from bender.api.routes import site

__all__ = ["site"]
