"""A template and its fields become a mail: plain text, with HTML beside it."""

from collections.abc import Mapping
from email.message import EmailMessage
from email.utils import localtime
from html import escape
from pathlib import Path
from string import Template

TEMPLATES = Path(__file__).parent / "templates"
SENDER = "Harbour Weather <hello@example.com>"


def compose(template: str, recipient: str, fields: Mapping[str, str]) -> EmailMessage:
    """The mail of `template` for `recipient`, with every `$name` in it filled in.

    Raises `KeyError` for a field that the template wants and `fields` lacks: better no mail than
    one that greets "$name".
    """
    values = {"email": recipient, **fields}
    head, _, text = _read(f"{template}.txt").partition("\n\n")
    html = _read(f"{template}.html")

    mail = EmailMessage()
    mail["From"] = SENDER
    mail["To"] = recipient
    mail["Subject"] = Template(head.removeprefix("Subject: ")).substitute(values)
    mail["Date"] = localtime()
    if "unsubscribe_url" in values:
        mail["List-Unsubscribe"] = f"<{values['unsubscribe_url']}>"
    mail.set_content(Template(text).substitute(values))
    safe = {name: escape(value) for name, value in values.items()}
    mail.add_alternative(Template(html).substitute(safe), subtype="html")
    return mail


def _read(name: str) -> str:
    return (TEMPLATES / name).read_text(encoding="utf-8")
