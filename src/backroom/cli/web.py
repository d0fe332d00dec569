"""`backroom web`: the dashboard and the REST API; and tokens for those who may look at them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backroom.cli.commands import PREFIX, Command, Commands, option

if TYPE_CHECKING:
    from backroom.web import BasicAuth, Token

__all__ = ["web"]

ROLES = ("read", "operate", "admin")


class _Web(Commands):
    """`backroom web MODULE:ATTR` is `backroom web serve MODULE:ATTR`."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        words = {*self.commands, *context.help_option_names}
        if not args or args[0] not in words:
            args = ["serve", *args]
        return super().parse_args(context, args)


@click.group(cls=_Web, short_help="Serve the dashboard and the REST API.")
def web() -> None:
    """Serve the dashboard and the REST API, for example: backroom web app.jobs:service

    Without credentials it serves this machine alone, to whoever opens the link that it prints.
    `backroom web token` makes some.
    """


@web.command()
@click.argument("target", metavar="[MODULE:ATTR]", required=False, envvar=f"{PREFIX}_APP")
@option("--storage", metavar="URL", envvar=f"{PREFIX}_STORAGE",
        help="Or: a store without an application.")  # fmt: skip
@option("--host", default="127.0.0.1", show_default=True, help="The address to serve on.")
@option("--port", type=click.IntRange(0, 65_535), default=8000, show_default=True,
        help="0: any that is free.")  # fmt: skip
@option("--token-file", type=click.Path(path_type=Path, exists=True, dir_okay=False),
        metavar="FILE",
        help="Who may, a line each, as `backroom web token` prints them.")  # fmt: skip
@option("--tokens", envvar=f"{PREFIX}_WEB_TOKENS", hidden=True,
        help="The same lines, with commas between them.")  # fmt: skip
@option("--session-secret", envvar=f"{PREFIX}_WEB_SECRET", hidden=True,
        help="Signs the cookies of those who sign in; else a restart signs them out.")  # fmt: skip
@option("--allow-host", "hosts", multiple=True, metavar="NAME",
        help="Answer to this name only; repeatable.")  # fmt: skip
@option("--root-path", default="", metavar="PATH",
        help="The prefix that a proxy in front takes away: /jobs.")  # fmt: skip
@option("--proxy", "proxies", multiple=True, metavar="ADDRESS",
        help="Believe the X-Forwarded headers of this proxy; repeatable.")  # fmt: skip
@option("--hide-data-from", type=click.Choice(ROLES),
        help="This role sees no data, results nor logs.")  # fmt: skip
@option("--worker", is_flag=True, help="Run the jobs of the service here, too.")
@option("--title", default="Backroom", show_default=True, help="The name that pages have.")
@option("--json", "as_json", is_flag=True, envvar=f"{PREFIX}_JSON", help="Log as lines of JSON.")
@option("--verbose", "-v", is_flag=True, help="Log more.")
def serve(
    target: str | None,
    storage: str | None,
    host: str,
    port: int,
    token_file: Path | None,
    tokens: str | None,
    session_secret: str | None,
    hosts: tuple[str, ...],
    root_path: str,
    proxies: tuple[str, ...],
    hide_data_from: str | None,
    worker: bool,
    title: str,
    as_json: bool,
    verbose: bool,
) -> None:
    """Serve the dashboard at / and the REST API at /api/v1, until SIGTERM or Ctrl-C.

    An address that others can reach is refused without credentials. These come from
    --token-file, or from BACKROOM_WEB_TOKENS (lines, or with commas between them).
    """
    _need_the_extra()
    import asyncio

    from backroom.cli.logs import log_to_stderr
    from backroom.cli.target import service_of
    from backroom.web import dashboard
    from backroom.web.serving import serve as serve_until_told

    log_to_stderr(as_json=as_json, verbose=verbose)
    if root_path and (not root_path.startswith("/") or root_path.endswith("/")):
        raise click.UsageError(
            f"--root-path begins with a slash and ends with none, got {root_path!r}"
        )
    service = service_of(target, storage)
    known = _credentials(token_file, tokens)
    app = dashboard(
        service,
        auth=known,
        session_secret=session_secret,
        allowed_hosts=hosts or None,
        hide_data_from=hide_data_from,
        title=title,
    )

    def ready(url: str) -> None:
        click.echo(f"the dashboard of {service.storage.url} is at {url}", err=True)
        if not known:
            click.echo(
                "its token is another one at each start, and may all; `backroom web token` makes"
                " lasting ones",
                err=True,
            )

    asyncio.run(
        serve_until_told(
            app, service, host=host, port=port, root_path=root_path,
            proxies=",".join(proxies), worker=worker, ready=ready,
        )
    )  # fmt: skip


@web.command(cls=Command)
@click.argument("name")
@option("--role", type=click.Choice(ROLES), default="read", show_default=True,
        help="What who shows it may do.")  # fmt: skip
@option("--password", is_flag=True, help="For a person: asks for a password instead.")
def token(name: str, role: str, password: bool) -> None:
    """Make a token and print it, and the line by which it is known.

    The token itself stands nowhere else: give it to who is to show it. The line, which goes into
    the file of --token-file, holds only a hash. With --password, the line is that of a user.
    """
    _need_the_extra()
    from backroom.web import BasicAuth, Token

    known: Token | BasicAuth
    if password:
        typed = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        known = BasicAuth.make(name, role, typed)
    else:
        secret, known = Token.make(name, role)
        click.echo(f"the token, to be shown once: {secret}", err=True)
        click.echo("the line for --token-file:", err=True)
    click.echo(known.line)


def _credentials(token_file: Path | None, tokens: str | None) -> list[Any]:
    from backroom.web import read_credentials

    found = []
    if token_file is not None:
        try:
            lines = token_file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise click.ClickException(f"{token_file} cannot be read: {error}") from None
        found += read_credentials(lines, str(token_file))
    if tokens:
        found += read_credentials(tokens.replace(",", "\n").splitlines(), "BACKROOM_WEB_TOKENS")
    return found


def _need_the_extra() -> None:
    missing = [name for name in ("jinja2", "starlette", "uvicorn")
               if importlib.util.find_spec(name) is None]  # fmt: skip
    if missing:
        raise click.ClickException(
            f"the dashboard needs {', '.join(missing)}: pip install 'backroom[web]'"
        )
