"""A masterless, expiring service registry."""

__version__ = "0.2.0"
