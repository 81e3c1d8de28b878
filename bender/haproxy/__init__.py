"""`twistd bender-haproxy`: configures one HAProxy from bender's events, without a dropped request.

`core` decides, and knows neither Twisted nor any file or socket: what bender has reported, the state that HAProxy is to
have, the text of its configuration, and the commands that lead there from its actual state. The modules here act:
`runtime` speaks with HAProxy, `config_file` writes its configuration, `supervisor` runs it, `acknowledger` confirms to
bender what is done, `status` shows it to people, and `driver` decides when each does so. `tap` puts all of it together.
"""
