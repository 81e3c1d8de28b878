"""`twistd bender-haproxy`: configures one HAProxy from bender's events, without a dropped request.

`core` decides, and uses neither Twisted nor files or sockets. It has the objects that bender has reported, the desired
state of HAProxy, the text of HAProxy's configuration, and the commands that lead from the actual to the desired state.
The modules here act: `runtime` sends commands to HAProxy, `config_file` writes its configuration, `supervisor` runs it,
`acknowledger` confirms applied events to bender, and `status` serves the state of the driver to people. `driver`
decides when each of them acts. `tap` puts all of it together.
"""
