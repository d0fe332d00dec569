"""The hosts of the tests: a network between them, and nothing of it left on this machine."""

from __future__ import annotations

import json
import socket

import pytest

from tests.process.parts import Family, eventually, is_running
from tests.servers.hosts import Network, no_hosts_here

WHY = no_hosts_here()
"""Said aloud, and no reason for a run to fail: it is a right of the user, not a package."""
PARENT = """
import json, time
from tests.servers.hosts import Network
network = Network(1)
print(json.dumps([network.middle.pid, network.others[0].pid]), flush=True)
time.sleep(60)
"""


def test_a_host_reaches_the_one_in_the_middle_while_its_link_is_up() -> None:
    if WHY:
        pytest.xfail(WHY)
    here = set(socket.if_nameindex())
    with Network(2) as network:
        with network.middle.inside():
            server = socket.create_server(("", 0))
        place = (network.address(1), server.getsockname()[1])
        with network.others[1].inside():
            socket.create_connection(place, 5).close()
            network.take_down(1)
            with pytest.raises(OSError, match=r"timed out|unreachable"):
                socket.create_connection(place, 0.2)
            network.bring_up(1)
            socket.create_connection(place, 5).close()
        server.close()
        assert set(socket.if_nameindex()) == here
    assert set(socket.if_nameindex()) == here


def test_nothing_is_left_when_the_process_that_has_them_is_killed(family: Family) -> None:
    if WHY:
        pytest.xfail(WHY)
    parent = family.start("-c", PARENT)
    parent.says("]")
    hosts = json.loads(parent.text)
    assert all(map(is_running, hosts))
    parent.kill()
    eventually(lambda: not any(map(is_running, hosts)), "they have gone")
