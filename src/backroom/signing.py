"""Signatures of webhooks, as Standard Webhooks says them: pure, for who sends and who receives.

What is signed is the id of the message, the moment of this delivery and the body. So nobody can
make one up, change one, or send a kept one again much later.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from typing import Final

from backroom.errors import ConfigurationError, SignatureError

__all__ = ["TOLERANCE", "check_secret", "new_secret", "sign", "verify"]

PREFIX: Final = "whsec_"
TOLERANCE: Final = 300.0
"""Seconds by which a delivery may be old, or seem to come from the future."""


def new_secret() -> str:
    """A secret for a webhook, to be kept by both sides."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def check_secret(secret: object) -> bytes:
    """The key that a secret means.

    Raises:
        ConfigurationError: it is none of 24 to 64 bytes; the message does not repeat it.
    """
    key = b""
    if isinstance(secret, str) and secret.startswith(PREFIX):
        try:
            key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
        except (binascii.Error, ValueError):
            key = b""
    if not 24 <= len(key) <= 64:
        raise ConfigurationError(
            f'the secret of a webhook is "{PREFIX}" and 24 to 64 bytes in Base64, as'
            " backroom.signing.new_secret() makes one"
        )
    return key


def sign(secret: str, message: str, at: int, body: bytes) -> dict[str, str]:
    """The headers of one delivery.

    Args:
        message: its id, the same at each delivery.
        at: seconds since 1970, of this delivery.
    """
    return {
        "webhook-id": message,
        "webhook-timestamp": str(at),
        "webhook-signature": _signature(check_secret(secret), message, str(at), body),
    }


def verify(secret: str, headers: Mapping[str, str], body: bytes, now: float) -> str:
    """The id of a message that was sent by who has the secret: for the side that receives. Who has
    seen this id before has the message already: it may be delivered more than once.

    Args:
        headers: of the request; names in any case.
        body: its bytes, as they came.
        now: seconds since 1970.

    Raises:
        SignatureError: it was not; the message says why.
    """
    found = {name.lower(): value for name, value in headers.items()}
    said = [found.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature")]
    message, at, signatures = said
    if not all(said):
        raise SignatureError("webhook-id, webhook-timestamp or webhook-signature is missing")
    if not (at.isascii() and at.isdecimal() and len(at) < 16):
        raise SignatureError("webhook-timestamp is no number of seconds")
    if abs(now - int(at)) > TOLERANCE:
        raise SignatureError(f"webhook-timestamp is more than {TOLERANCE:g} s from now")
    expected = _signature(check_secret(secret), message, at, body).encode()
    given = [one.encode("utf-8", "replace") for one in signatures.split(" ")[:20]]
    if not any(hmac.compare_digest(expected, one) for one in given):
        raise SignatureError("no signature is that of this message by this secret")
    return message


def _signature(key: bytes, message: str, at: str, body: bytes) -> str:
    signed = b".".join((message.encode(), at.encode(), body))
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
