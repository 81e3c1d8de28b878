"""DNS: the registry as the zone `bender.`, for programs that find servers by name.

`message` and `records` read and make bytes, and `names` knows the names. `members` and `responder` ask a node;
`datagrams`, `connections` and `service` speak to clients.
"""
