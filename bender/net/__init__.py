"""What programs that speak on a network have in common: addresses, endpoints, connections, HTTP servers."""
