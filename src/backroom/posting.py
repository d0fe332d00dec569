"""One POST to an address of somebody else's, that leads nowhere inside.

The name is resolved once, every address that it has is looked at, and the connection goes to the
one that was looked at: an answer that changes meanwhile changes nothing. Redirects are not
followed. Blocks: for a thread.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

from backroom.errors import ConfigurationError, DeliveryError

__all__ = ["Answer", "check_url", "post"]

KEPT: Final = 500
"""Bytes of the answer that are read."""
MAX_URL: Final = 2000
SLOWEST: Final = 3
"""So many times the timeout of one step may all of them take together."""


class Answer(NamedTuple):
    """What was answered."""

    status: int
    begin: str
    """Its first bytes, as text."""


def check_url(url: object, *, allow_http: bool) -> SplitResult:
    """Where to post.

    Raises:
        ConfigurationError: it is no URL of https (or http, where that is allowed), or has a
            password in it, which would be shown.
    """
    text = url if isinstance(url, str) else ""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    schemes = ("https", "http") if allow_http else ("https",)
    plain = text.isascii() and text.isprintable() and " " not in text and len(text) <= MAX_URL
    if parts.scheme not in schemes or not parts.hostname or not plain or port == 0:
        mend = "" if allow_http else "; allow_http=True takes http, too"
        raise ConfigurationError(f"the URL of a webhook begins with https:// and a host{mend}")
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError(
            "the URL of a webhook has no name and password in it: the signature tells who sends"
        )
    return parts


def post(
    url: SplitResult,
    body: bytes,
    headers: Mapping[str, str],
    timeout: float,
    *,
    allow_private: bool,
) -> Answer:
    """Posts, and reads the beginning of the answer, whatever its status is.

    Raises:
        DeliveryError: there is no such host, it is inside (an address of this machine, of a
            private network, or of the network's own devices), or it did not answer.
    """
    assert url.hostname is not None
    port = url.port or (443 if url.scheme == "https" else 80)
    address = _resolve(url.hostname, port, allow_private=allow_private)
    connection = _Pinned(url.hostname, port, address, timeout, tls=url.scheme == "https")
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    # Who answers a byte now and then is never out of time by itself.
    ending = threading.Timer(SLOWEST * timeout, connection.abort)
    ending.daemon = True
    ending.start()
    try:
        connection.request("POST", path, body, dict(headers))
        answer = connection.getresponse()
        return Answer(answer.status, answer.read(KEPT).decode("utf-8", "replace"))
    except (OSError, http.client.HTTPException) as error:
        raise DeliveryError(f"{url.hostname}:{port} did not take it: {error!r}") from None
    finally:
        ending.cancel()
        connection.close()


def _resolve(host: str, port: int, *, allow_private: bool) -> str:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise DeliveryError(f"there is no host {host!r}: {error}") from None
    addresses = [str(one[4][0]) for one in found]
    for address in addresses:
        if not allow_private and not _is_outside(address):
            # Not which address: whoever chose the name shall learn nothing of what is inside.
            raise DeliveryError(
                f"{host!r} leads to an address that is not public; allow_private=True, where the"
                " webhook is declared, says that it may"
            )
    return addresses[0]


def _is_outside(address: str) -> bool:
    """Whether an address is of the public network."""
    one = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(one, ipaddress.IPv6Address):
        inner = one.ipv4_mapped or one.sixtofour or (one.teredo[1] if one.teredo else None)
        if inner is None and int(one) >> 32 == 0x64FF9B << 64:  # NAT64: 64:ff9b::/96.
            inner = ipaddress.IPv4Address(int(one) & 0xFFFF_FFFF)
        if inner is not None:
            return inner.is_global and not inner.is_multicast
    return one.is_global and not one.is_multicast


class _Pinned(http.client.HTTPConnection):
    """A connection to an address, which is asked for a name."""

    def __init__(self, host: str, port: int, address: str, timeout: float, *, tls: bool) -> None:
        super().__init__(host, port, timeout=timeout)
        self.default_port = 443 if tls else 80
        self._address = address
        self._tls = ssl.create_default_context() if tls else None

    def abort(self) -> None:
        """In another thread: what is being read or written fails."""
        sock = self.sock
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def connect(self) -> None:
        plain = socket.create_connection((self._address, self.port), self.timeout)
        if self._tls is None:
            self.sock = plain
            return
        try:
            self.sock = self._tls.wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise
