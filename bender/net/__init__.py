"""Parts that all network programs here share: addresses, endpoints, connections, HTTP clients and servers, limits."""
