"""DNS: the registry as the zone `bender.`, for programs that find servers by name.

`message` parses queries, `records` encodes records and answers, and `names` maps names to apps and backends. `members`
and `responder` get the data of a node. `datagrams`, `connections` and `service` exchange messages with clients.
"""
