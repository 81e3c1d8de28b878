"""Common parts of programs that use a network: addresses, endpoints, connections, HTTP servers."""
