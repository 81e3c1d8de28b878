"""A masterless, expiring service registry."""

__version__ = "0.1.0"
