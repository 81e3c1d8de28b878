"""Answers of HAProxy's Runtime API, and the driver's state file (`bender.haproxy.core.actual_state`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from bender.haproxy.core.actual_state import (
    Unreadable,
    by_pool,
    master_in,
    pools_in,
    process_in,
    rows_in,
    servers_in,
)
from bender.haproxy.core.health import parse_findings
from bender.haproxy.core.server_commands import refusal_in
from tests.fuzz.documents import damaged

_INFO = (
    b"Name: HAProxy\nVersion: 2.6.12-1+deb12u4\nPid: 17\nStart_time_sec: 1795447942\nStopping: 0\ndescription: b 1\n"
)
_STATE = (
    b"1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight "
    b"srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state srv_agent_state "
    b"bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr\n"
    b"3 shop 1 web1 10.0.0.5 2 0 1 1 17 6 3 4 6 0 0 0 - 8080 - 0 0 -\n"
)
_STAT = (
    b"# pxname,svname,qcur,scur,stot,econ,eresp,status,weight,type,check_status,hrsp_5xx,req_tot,uweight,addr\n"
    b'shop,web1,0,1,2,0,0,UP,1,2,L7OK,0,5,1,10.0.0.5:8080\nshop,"web,2",,,,,,"DOWN 1/2",1,2,L4TOUT,,,1,\n'
)
_BACKENDS = b"# name\nshop\nwww\n"
_PROC = (
    b"#<PID>  <type> <reloads> <uptime> <version>\n17 master 3 [failed: 1] 0d00h01m 2.6.12\n# workers\n18 worker 0\n"
)
_ANSWERS = (_INFO, _STATE, _STAT, _BACKENDS, _PROC)

WORDS = (
    b"\n",
    b",",
    b'"',
    b"# ",
    b": ",
    b" master ",
    b"[failed:",
    b"\xc2\xb2",
    b"\xd9\xa1",
    b"-1",
    b"1_0",
    b"9" * 5000,
)

NEAR = damaged(st.sampled_from(_ANSWERS)) | st.tuples(
    st.sampled_from(_ANSWERS), st.sampled_from(["\u00b2", "\u0661", "-1", "9" * 5000, "1_0"]) | st.text(max_size=9)
).map(lambda parts: parts[0].replace(b"17", parts[1].encode()))

_PARSERS: tuple[Callable[[str], Any], ...] = (process_in, servers_in, pools_in, rows_in, master_in, parse_findings)

EXAMPLES = (*_ANSWERS, "\u00b2 master".encode(), b"9" * 5000 + b" master", b"x" * 200_000)


def fuzz(sent: bytes) -> None:
    """An answer is refused as `Unreadable`, with a clause of limited length, or becomes the state of HAProxy."""
    text = sent.decode("utf-8", "replace")
    reason = refusal_in(text)
    assert reason is None or isinstance(reason, str)
    for parse in _PARSERS:
        try:
            found = parse(text)
        except Unreadable as error:
            assert str(error).startswith("gives an unreadable answer to show ") and len(str(error)) < 2000, error
            continue
        if parse is servers_in:
            assert sum(map(len, by_pool(found).values())) == len(found)
            assert not any(server.unchecked and server.failing for server in found)
