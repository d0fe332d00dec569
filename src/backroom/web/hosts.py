"""Names of hosts, and which of them are this very machine."""

from __future__ import annotations

import ipaddress

__all__ = ["host_name", "is_loopback_name"]


def host_name(host: str) -> str:
    """The name in a Host header, without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower().rstrip(".")


def is_loopback_name(name: str) -> bool:
    """Whether a name, or an address, never leads anywhere else."""
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
