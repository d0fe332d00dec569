"""One POST to an address of somebody else's, that leads nowhere inside.

The name is resolved once, every address that it has is looked at, and the connection goes to the
one that was looked at: an answer that changes meanwhile changes nothing. Redirects are not
followed. All of it together has a deadline, whatever the other side does. Blocks: for a thread.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import queue
import socket
import ssl
import threading
import time
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

_INSIDE: Final = tuple(
    ipaddress.IPv4Network(one)
    for one in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",  # The host beneath a machine of Azure: public by its number alone.
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
    )
)
"""Of IPv4, what is not public. Written down: what `is_global` says differs between patches of one
version of Python."""
_PUBLIC_6: Final = ipaddress.IPv6Network("2000::/3")
"""All of IPv6 that is given out to the public network,"""
_INSIDE_6: Final = tuple(
    ipaddress.IPv6Network(one)
    # Protocols of its own (Teredo among them), documentation, 6to4, documentation.
    for one in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)
"""and what is not, within that."""
_WRAPPED: Final = tuple(
    ipaddress.IPv6Network(one)
    # IPv4 as IPv6 writes it, and as a gateway of the network translates it (NAT64).
    for one in ("::ffff:0:0/96", "64:ff9b::/96")
)
"""An address of these leads to the IPv4 address that its last 32 bits are."""


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
            private network, or of the network's own devices), or it did not answer, to the end
            of what is read, within `SLOWEST` times the timeout.
    """
    assert url.hostname is not None
    ends = time.monotonic() + SLOWEST * timeout
    port = url.port or (443 if url.scheme == "https" else 80)
    address = _resolve(url.hostname, port, timeout, allow_private=allow_private)
    connection = _Pinned(url.hostname, port, address, timeout, tls=url.scheme == "https")
    path = (url.path or "/") + (f"?{url.query}" if url.query else "")
    # Who answers a byte now and then is never out of time by itself.
    ending = threading.Timer(ends - time.monotonic(), connection.abort)
    ending.daemon = True
    ending.start()
    try:
        connection.request("POST", path, body, dict(headers))
        answer = connection.getresponse()
        begin = answer.read(KEPT)
        # An answer that is cut off looks like one that ends.
        connection.check_time()
        return Answer(answer.status, begin.decode("utf-8", "replace"))
    except (OSError, http.client.HTTPException) as error:
        # Torn off by the deadline, it fails in as many ways as there are ways to answer.
        why = f"out of time, {SLOWEST * timeout:g} s in all" if connection.is_late else repr(error)
        raise DeliveryError(f"{url.hostname}:{port} did not take it: {why}") from None
    finally:
        ending.cancel()
        connection.close()


def _resolve(host: str, port: int, timeout: float, *, allow_private: bool) -> str:
    try:
        addresses = _look_up(host, port, timeout)
    except (OSError, UnicodeError) as error:
        raise DeliveryError(f"there is no host {host!r}: {error}") from None
    for address in addresses:
        if not allow_private and not _is_outside(address):
            # Not which address: whoever chose the name shall learn nothing of what is inside.
            raise DeliveryError(
                f"{host!r} leads to an address that is not public; allow_private=True, where the"
                " webhook is declared, says that it may"
            )
    return addresses[0]


def _look_up(host: str, port: int, timeout: float) -> list[str]:
    """The addresses of a name. In a thread of its own, since nothing else bounds how long the
    system's resolver takes; one that is out of time is left to end by itself.

    Raises:
        OSError, UnicodeError: the name has none, or nobody said so in time.
    """
    answers: queue.SimpleQueue[list[str] | OSError | UnicodeError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            answers.put(error)
        else:
            answers.put([str(one[4][0]) for one in found])

    threading.Thread(target=ask, name="backroom-name", daemon=True).start()
    try:
        answer = answers.get(timeout=timeout)
    except queue.Empty:
        raise TimeoutError(f"its name was not resolved within {timeout:g} s") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _is_outside(address: str) -> bool:
    """Whether an address is of the public network. What is not known is not."""
    one = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(one, ipaddress.IPv6Address):
        if not any(one in network for network in _WRAPPED):
            return one in _PUBLIC_6 and not any(one in network for network in _INSIDE_6)
        one = ipaddress.IPv4Address(int(one) & 0xFFFF_FFFF)
    return not any(one in network for network in _INSIDE)


class _Pinned(http.client.HTTPConnection):
    """A connection to an address, which is asked for a name."""

    def __init__(self, host: str, port: int, address: str, timeout: float, *, tls: bool) -> None:
        super().__init__(host, port, timeout=timeout)
        self.default_port = 443 if tls else 80
        self._address = address
        self._tls = ssl.create_default_context() if tls else None
        self._open: socket.socket | None = None
        self.is_late = False
        """It was aborted."""

    def abort(self) -> None:
        """In another thread: what is being read or written fails, or ends, and nothing begins."""
        self.is_late = True
        if self._open is not None:
            with contextlib.suppress(OSError):  # The other side was quicker to close it.
                # Of the plain socket: one of TLS would go on without TLS.
                socket.socket.shutdown(self._open, socket.SHUT_RDWR)

    def check_time(self) -> None:
        """Raises:
        TimeoutError: it is late.
        """
        if self.is_late:
            raise TimeoutError

    def connect(self) -> None:
        plain = socket.create_connection((self._address, self.port), self.timeout)
        self.sock = plain
        if self._tls is not None:
            try:
                self.sock = self._tls.wrap_socket(
                    plain, server_hostname=self.host, do_handshake_on_connect=False
                )
            except BaseException:
                plain.close()
                raise
        # Not `sock`: that is given up before the body of an answer is read, where none follows it.
        self._open = self.sock
        self.check_time()
        if isinstance(self.sock, ssl.SSLSocket):
            self.sock.do_handshake()
