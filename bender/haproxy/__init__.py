"""`twistd bender-haproxy`: keeps one HAProxy as bender says, without a dropped request.

`core` decides and knows neither Twisted nor any file or socket: what bender has said, what HAProxy is to be because of
that, the text of its configuration, and the commands that lead there from how it is. The modules here carry that out:
`runtime` speaks with HAProxy, `config_file` writes its configuration, `supervisor` runs it, `acknowledger` confirms to
bender what is done, `status` shows it to people, and `driver` decides when each does so. `tap` puts all of it together.
"""
