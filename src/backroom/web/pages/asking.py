"""Asked before something is forgotten, where no script has asked already."""

from __future__ import annotations

import msgspec
from starlette.responses import Response

from backroom.web.call import Call
from backroom.web.pages.rendering import page

__all__ = ["Confirmed", "ask_to_delete"]


class Confirmed(msgspec.Struct, forbid_unknown_fields=True):
    """The form of what has to be asked."""

    confirmed: bool = False
    """Else the answer is a page that asks."""


def ask_to_delete(call: Call, here: str, question: str, means: str, at: str) -> Response:
    """A page whose form asks for the same again, confirmed; nothing was changed yet.

    Args:
        here: the key of the page in the list of pages.
        at: the path of what is to be deleted, where whoever does nothing goes.
    """
    return page(call, "confirm.html", here, question=question, means=means, at=at, events="")
