"""Signatures of webhooks, and where a webhook may go."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from ipaddress import ip_address
from random import Random
from typing import Any

import pytest

from backroom.errors import ConfigurationError, DeliveryError, SignatureError
from backroom.posting import _is_outside, check_url, post
from backroom.signing import TOLERANCE, check_secret, new_secret, sign, verify

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"test": 2432232314}'
AT = 1614265330
MESSAGE = "msg_p5jXN8AQM9LWM0D4loKWxJek"


def test_a_signature_is_that_of_the_standard() -> None:
    """The example that others who implement Standard Webhooks are tried with, too."""
    assert sign(SECRET, MESSAGE, AT, BODY) == {
        "webhook-id": MESSAGE,
        "webhook-timestamp": str(AT),
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_who_has_the_secret_is_believed_in_time_and_with_any_case_of_names() -> None:
    headers = {name.title(): value for name, value in sign(SECRET, MESSAGE, AT, BODY).items()}
    assert verify(SECRET, headers, BODY, AT + TOLERANCE) == MESSAGE
    rotated = {**headers, "Webhook-Signature": f"v1,AAAA v2,xyz {headers['Webhook-Signature']}"}
    assert verify(SECRET, rotated, BODY, AT - TOLERANCE) == MESSAGE


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"webhook-id": "msg_other"}, "no signature"),
        ({"webhook-timestamp": str(AT + 1)}, "no signature"),
        ({"webhook-timestamp": str(AT + 301)}, "more than 300 s"),
        ({"webhook-timestamp": "1e9"}, "no number"),
        ({"webhook-timestamp": "١٢٣"}, "no number"),
        ({"webhook-signature": "v1,"}, "no signature"),
        ({"webhook-signature": "v1,\ud800"}, "no signature"),
        ({"webhook-signature": ""}, "missing"),
    ],
)
def test_what_was_changed_or_is_old_is_refused(change: dict[str, str], said: str) -> None:
    headers = {**sign(SECRET, MESSAGE, AT, BODY), **change}
    with pytest.raises(SignatureError, match=said):
        verify(SECRET, headers, BODY, AT)


def test_another_body_or_another_secret_is_refused() -> None:
    headers = sign(SECRET, MESSAGE, AT, BODY)
    with pytest.raises(SignatureError):
        verify(SECRET, headers, BODY + b" ", AT)
    with pytest.raises(SignatureError):
        verify(new_secret(), headers, BODY, AT)


@pytest.mark.parametrize("secret", ["", "hunter2", "whsec_", "whsec_c2hvcnQ=", "whsec_%%%%", None])
def test_a_secret_that_is_none_is_refused_and_not_repeated(secret: Any) -> None:
    with pytest.raises(ConfigurationError) as refused:
        check_secret(secret)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    ["", "http://example.com", "ftp://example.com", "https://", "https://user:pw@example.com/x",
     "https://exa mple.com", "https://example.com\r\nX: y", "https://example.com:99999/", None,
     "file:///etc/passwd"],
)  # fmt: skip
def test_a_url_that_leads_nowhere_good_is_refused(url: Any) -> None:
    with pytest.raises(ConfigurationError) as refused:
        check_url(url, allow_http=False)
    assert "pw" not in str(refused.value)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
     "0.0.0.0", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fc00::1", "ff02::1",
     "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::",
     "192.0.0.192", "168.63.129.16", "::ffff:168.63.129.16", "192.88.99.1", "240.0.0.1", "fec0::1",
     "64:ff9b:1::7f00:1", "::7f00:1", "::ffff:0:7f00:1", "3fff::1", "5f00::1", "100:0:0:1::1",
     "2001:0:7f00:1::1", "2002:808:808::", "2001:db8::1", "fd00:ec2::254", "fe80::1%eth0"],
)  # fmt: skip
def test_no_name_leads_inside(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET

    def resolved(*args: Any, **kwargs: Any) -> list[Any]:
        # The second address counts as well: a client may try each.
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", 443)),
                (family, socket.SOCK_STREAM, 6, "", (address, 443))]  # fmt: skip

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    monkeypatch.setattr(socket, "create_connection", _never)
    url = check_url("https://innocent.example/hook", allow_http=False)
    with pytest.raises(DeliveryError, match="not public") as refused:
        post(url, b"{}", {}, 1, allow_private=False)
    assert address not in str(refused.value)


@pytest.mark.parametrize(
    "address",
    ["93.184.216.34", "8.8.8.8", "::ffff:8.8.8.8", "64:ff9b::808:808", "2606:4700::1111",
     "2a00:1450:4001::1", "100.128.0.1", "172.32.0.1", "192.0.1.1", "168.63.129.17"],
)  # fmt: skip
def test_what_is_public_is_gone_to(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def connect(address: Any, timeout: float) -> None:
        asked.append(address)
        raise ConnectionRefusedError("nobody")

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(2, 1, 6, "", (address, 443))])
    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(DeliveryError, match="nobody"):
        post(check_url("https://a.example", allow_http=False), b"", {}, 1, allow_private=False)
    assert asked == [(address, 443)]


def test_what_is_outside_is_no_wider_than_what_python_calls_global() -> None:
    random = Random(7)
    for _ in range(5000):
        for one in (ip_address(random.getrandbits(32)),
                    ip_address(random.getrandbits(128) >> 3 | 1 << 125)):  # fmt: skip
            assert one.is_global or not _is_outside(str(one)), one


HEADS = {
    "to the end of the connection": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
    "of HTTP/1.0": b"HTTP/1.0 200 OK\r\n\r\n",
    "of a length": b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n",
    "of chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1f4\r\n",
    "of headers": b"HTTP/1.1 200 OK\r\nX: ",
}


@pytest.mark.parametrize("kind", HEADS)
def test_who_answers_a_byte_now_and_then_is_out_of_time(kind: str) -> None:
    """Without a deadline, each would be done in some 10 seconds, and taken for a success."""
    gone = threading.Event()
    sent: list[int] = []

    def answer(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.recv(65536)
            connection.sendall(HEADS[kind])
            for number in range(500):
                sent.append(number)
                connection.sendall(b"x")
                if gone.wait(0.02):
                    return
            connection.sendall(b"\r\n0\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer, args=(listener,))
        thread.start()
        url = check_url(f"http://127.0.0.1:{listener.getsockname()[1]}/", allow_http=True)
        try:
            with pytest.raises(DeliveryError, match="out of time"):
                post(url, b"{}", {}, 0.1, allow_private=True)
        finally:
            gone.set()
            thread.join()
    assert len(sent) < 500, "it was read to its end"


def test_a_name_that_nobody_resolves_is_out_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()

    def resolve(*args: Any, **kwargs: Any) -> list[Any]:
        over.wait(30)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", 443))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "create_connection", _never)
    try:
        with pytest.raises(DeliveryError, match="not resolved within"):
            post(check_url("https://a.example", allow_http=False), b"", {}, 0.05,
                 allow_private=True)  # fmt: skip
    finally:
        over.set()


def test_it_goes_to_the_address_that_was_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    addresses = iter(["93.184.216.34", "127.0.0.1"])

    def resolved(*args: Any, **kwargs: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(addresses), 443))]

    def connect(address: Any, timeout: float) -> None:
        asked.append(address)
        raise ConnectionRefusedError("nobody")

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(DeliveryError):
        post(check_url("https://a.example", allow_http=False), b"", {}, 1, allow_private=False)
    assert asked == [("93.184.216.34", 443)]


def _never(*args: Any, **kwargs: Any) -> None:
    raise AssertionError("it was connected")
