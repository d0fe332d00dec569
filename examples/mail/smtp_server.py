"""A real SMTP server for the demo, in a process of its own: it writes a Maildir, and it has moods.

Every tenth new mail is refused with 451 until it is a second old, as servers do that greylist.
Mails for domains it does not know are refused with 550, for good. Taking a mail takes time, half
of it before the mail is written down and half after, so a sender that dies in between leaves
either no mail or one it does not know of.

    python -m examples.mail.smtp_server --maildir ./Maildir --log ./smtp.jsonl --port 2525

prints the port it listens on and ends when its standard input does, so it never outlives the
process that started it.
"""

import argparse
import asyncio
import json
import logging
import mailbox
import os
import threading
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import TextIO

from aiosmtpd.smtp import SMTP, Envelope, Session

DOMAINS = ("example.com", "example.org")


class Postman:
    """What the server does with a mail; `aiosmtpd` speaks SMTP and calls these methods.

    Every answer to a mail is one line of JSON in `log`, written before the client hears it.
    """

    def __init__(
        self, maildir: Path, log: TextIO, *, seconds: float, every: int, hold: float
    ) -> None:
        self._mailbox = mailbox.Maildir(maildir, create=True)
        self._log = log
        self._seconds = seconds
        self._every = every
        self._hold = hold
        self._first_seen: dict[str, float] = {}
        self._greylisted: set[str] = set()

    async def handle_RCPT(
        self,
        _server: SMTP,
        _session: Session,
        envelope: Envelope,
        address: str,
        _options: list[str],
    ) -> str:
        if address.rpartition("@")[2] not in DOMAINS:
            return "550 5.1.1 No such mailbox here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        mail = message_from_bytes(envelope.content)
        if self._refuses(str(mail["Message-ID"])):
            self._note(451, mail, envelope)
            return "451 4.7.1 Greylisted, please try again later"
        await asyncio.sleep(self._seconds / 2)
        self._mailbox.add(envelope.content)
        self._note(250, mail, envelope)
        await asyncio.sleep(self._seconds / 2)
        return "250 OK"

    def _refuses(self, message_id: str) -> bool:
        now = asyncio.get_running_loop().time()
        if message_id not in self._first_seen:
            self._first_seen[message_id] = now
            if len(self._first_seen) % self._every == 0:
                self._greylisted.add(message_id)
        return message_id in self._greylisted and now < self._first_seen[message_id] + self._hold

    def _note(self, code: int, mail: Message, envelope: Envelope) -> None:
        line = {"code": code, "job": mail["X-Job-Id"], "to": envelope.rcpt_tos}
        print(json.dumps(line), file=self._log, flush=True)


async def serve(postman: Postman, port: int) -> None:
    """Listen on `port` of 127.0.0.1 (0: any free one) until standard input ends."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def watch_stdin() -> None:
        while os.read(0, 4096):
            pass
        loop.call_soon_threadsafe(ended.set)

    server = await loop.create_server(
        lambda: SMTP(postman, hostname="mail.example.com"), "127.0.0.1", port
    )
    threading.Thread(target=watch_stdin, daemon=True).start()
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await ended.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--maildir", type=Path, required=True)
    parser.add_argument("--log", type=Path, required=True, help="every answer, a line of JSON each")
    parser.add_argument("--port", type=int, default=0, help="default: any free one")
    parser.add_argument("--seconds", type=float, default=0.06, help="time that one mail takes")
    parser.add_argument("--every", type=int, default=10, help="which mails are refused at first")
    parser.add_argument("--hold", type=float, default=1.0, help="seconds for which they are")
    options = parser.parse_args()
    logging.getLogger("mail.log").setLevel(logging.ERROR)  # aiosmtpd's own, a line a command
    options.log.parent.mkdir(parents=True, exist_ok=True)
    with options.log.open("a", encoding="utf-8") as log:
        postman = Postman(
            options.maildir,
            log,
            seconds=options.seconds,
            every=options.every,
            hold=options.hold,
        )
        asyncio.run(serve(postman, options.port))


if __name__ == "__main__":
    main()
