"""TLS: certificates and keys in files, connections with peers and clients, and clauses about their errors."""
