"""TLS: certificates and keys in files, connections with peers and clients, and what goes wrong with them in words."""
