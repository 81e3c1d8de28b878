"""HTTP for clients: `routes` lists what they can ask for, the rest answers it through Twisted and Klein."""

from bender.api.app import site

__all__ = ["site"]
