"""The statements of a job store, read from the `.sql` files beside this one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Final

from backroom.errors import ConfigurationError
from backroom.schedule import ScheduleRecord

__all__ = ["Statements", "read"]

LONGEST_NAME: Final = 40
"""Of a table name, so that the longest name made from it is no longer than PostgreSQL's 63."""

_FILES: Final = (
    "inserts", "keys", "presence", "claims", "outcomes", "retention", "history", "look", "moving",
    "schedules", "steps", "ties", "flows", "limits", "turns", "away", "actions", "figures",
    "counts", "stranded",
)  # fmt: skip
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z", re.ASCII)
_HEAD: Final = re.compile(r"^-- (\w+):", re.MULTILINE)
_NOTIFY: Final = re.compile(r"pg_notify\((\$\d+), \$\d+\)")
_PLACE: Final = re.compile(r"\{(\w+)\}")

_READY: Final = """SELECT f.* FROM (
        SELECT r.* FROM open AS q {priorities}
        LEFT JOIN marks AS m ON m.queue = q.name AND m.priority = {priority}, LATERAL (
            SELECT 0 AS source, ctid AS place, id, run_at FROM {{ready}} AS w
            WHERE w.queue = q.name AND w.priority = {priority} AND {{behind_mark}}
            AND w.run_at <= {until} {but}
            ORDER BY w.run_at, w.id LIMIT {most} FOR UPDATE SKIP LOCKED) AS r
        {parked}
    ) AS f ORDER BY run_at, id LIMIT {most}"""
_PARKED: Final = """UNION ALL
        SELECT r.* FROM open AS q
            CROSS JOIN unnest($14::text[]) AS k (name) {priorities}, LATERAL (
            SELECT 1 AS source, ctid AS place, id, run_at FROM {{parked}} AS w
            WHERE w.queue = q.name AND {{kind}} = k.name AND w.priority = {priority}
            AND w.run_at <= {until} {but}
            ORDER BY w.run_at, w.id LIMIT {most} FOR UPDATE SKIP LOCKED) AS r"""
_DUE: Final = """SELECT r.* FROM generate_series(0, 3) AS p (priority), LATERAL (
        SELECT w.* FROM ({open}) AS q, LATERAL (
            SELECT ctid AS place, id, run_at FROM {{ready}} AS w
            WHERE w.queue = q.name AND w.priority = p.priority AND w.run_at <= {now}
            ORDER BY w.run_at, w.id LIMIT {most} FOR UPDATE SKIP LOCKED) AS w
        ORDER BY w.run_at, w.id LIMIT {most}) AS r
    LIMIT {most}"""
"""The first jobs that are due."""
_KIND: Final = "(w.type || ' ' || w.version::text)"
"""What a parked job waits as: the index that claims read has this very text."""
_INDEX: Final = re.compile(r"\bINDEX (?:IF NOT EXISTS )?\{(\w+)\} ON ")
"""Named without a schema where it is made."""
_OF_PARTS: Final = ("jobs_part", "ended_part", "low", "high")
"""Places that `Statements.part` fills in."""
_OPEN: Final = """SELECT name FROM {{queues}}
    WHERE NOT paused AND name <> ALL({but}) AND ({queues} IS NULL OR name = ANY({queues}))"""
_LIFE: Final = "ARRAY[pg_postmaster_start_time(), pg_stat_get_bgwriter_stat_reset_time()]"
"""Other than before when the server was started, or has ended all sessions since one crashed: then
it begins its statistics anew."""
_GONE: Final = """(coalesce(w.lease_until <= $2, false) OR coalesce(CASE
        WHEN w.served = {life} THEN CASE WHEN w.presence <> $1
            THEN pg_try_advisory_xact_lock(w.presence) END
        WHEN NOT pg_is_in_recovery() AND clock_timestamp() >= w.lease * interval '1 second'
            + greatest(pg_postmaster_start_time(), pg_stat_get_bgwriter_stat_reset_time())
        THEN coalesce(CASE WHEN w.presence IS DISTINCT FROM $1
            THEN pg_try_advisory_xact_lock(w.presence) END, w.presence IS NULL)
    END, false))"""
"""Whether a worker `w` is gone, as far as one look can tell; ours are not. Who has not beaten in
this life of the server has a whole lease of it for that. A standby has a life of its own, in which
nobody beats: there it tells nothing."""
_BEHIND: Final = """(w.run_at, w.id) >= (coalesce(m.run_at, -9223372036854775808),
                coalesce(m.id, '00000000-0000-0000-0000-000000000000'))"""
"""What is not before the mark of its queue and priority, where there is one."""
_MERGED: Final = """coalesce((SELECT jsonb_object_agg(b.key, b.number) FROM (
        SELECT c.key, sum(c.value::bigint) AS number FROM (
            SELECT * FROM jsonb_each_text(f.{0}) UNION ALL
            SELECT * FROM jsonb_each_text(excluded.{0})) AS c GROUP BY c.key) AS b), '{{}}')"""
"""Two maps of counts as one."""
_SCHEDULE: Final = ", ".join(ScheduleRecord.__struct_fields__)
"""The columns of a schedule, in the order of its values."""
_FLOW: Final = (
    "id, name, kind, on_failure, created_at, jobs, open_jobs, open_others, completed, failed,"
    " cancelled, undone, finished_at"
)
_BYTES: Final = """octet_length(j.data) + coalesce(octet_length(j.options), 0)
        + coalesce((SELECT octet_length(e.result) FROM {ended} AS e WHERE e.id = j.id LIMIT 1), 0)
        + coalesce((SELECT sum(octet_length(m.message) + coalesce(octet_length(m.traceback), 0))
                    FROM {errors} AS m WHERE m.job = j.id), 0)
        + coalesce((SELECT sum(octet_length(l.message)) FROM {logs} AS l WHERE l.job = j.id), 0)
        + coalesce((SELECT sum(octet_length(s.result)) FROM {steps} AS s WHERE s.job = j.id), 0)
        + coalesce((SELECT sum(octet_length(s.value)) FROM {signals} AS s WHERE s.job = j.id), 0)"""
"""Of all that is kept with a job `j`."""
_COUNTED: Final = """EXISTS (
        SELECT FROM {held} AS h WHERE o.id = ANY(h.ids) AND (o.id = ANY(h.started) OR EXISTS (
            SELECT FROM {begun} AS l, unnest(l.ids, l.tokens) AS b (id, token)
            WHERE l.worker = h.worker AND b.id = o.id AND b.token = h.token)))"""
"""Whether the code of a job `o` may have begun."""
_NOWHERE: Final = """(SELECT true FROM {ended} AS e WHERE e.id = j.id LIMIT 1) IS NULL
    AND (SELECT true FROM {ready} AS r WHERE r.queue = j.queue AND r.priority = j.priority
         AND r.run_at = j.run_at AND r.id = j.id
         AND EXISTS (SELECT FROM {queues} AS q WHERE q.name = j.queue) LIMIT 1) IS NULL
    AND (SELECT true FROM {parked} AS p WHERE p.queue = j.queue AND p.type = j.type
         AND p.priority = j.priority AND p.run_at = j.run_at AND p.id = j.id
         AND EXISTS (SELECT FROM {queues} AS q WHERE q.name = j.queue) LIMIT 1) IS NULL
    AND (SELECT true FROM {waiting} AS w WHERE w.id = j.id AND (w.waits > 0 OR EXISTS (
             SELECT FROM {members} AS m JOIN {away} AS a ON a.id = m.flow WHERE m.job = w.id))
         LIMIT 1) IS NULL
    AND (SELECT true FROM {blocked} AS b WHERE b.id = j.id AND b.called_at IS NULL LIMIT 1) IS NULL
    AND j.id NOT IN (SELECT i.id FROM {held} AS h, unnest(h.ids) AS i (id)
                     WHERE h.worker IN (SELECT id FROM {workers}))"""
"""Whether a job `j` has not ended, and is in none of the places where anybody comes for it."""
_HOLDING: Final = """(k.held_until > {now} OR k.held_until = 0 AND (
        SELECT o.attempt = 0 AND o.started_at IS NULL
            AND NOT {counted}
            AND (SELECT true FROM {ended} AS e WHERE e.id = o.id LIMIT 1) IS NULL
        FROM {jobs} AS o WHERE o.id = k.holder LIMIT 1) IS TRUE)"""
"""Whether a key `k` that is not held until the end of a job is held at a moment."""
_HELD: Final = (
    ("WITH given AS MATERIALIZED (", "WITH asked AS MATERIALIZED ("),
    ("$12::boolean[])", "$12::boolean[], $20::bigint[], $21::integer[], $22::boolean[])"),
    ("worker, start, n)", "worker, start, held_until, call, decides, n)"),
    ("), keyed AS (", "), {checked}, keyed AS ("),
    (
        "(type, unique_key, id)\n    SELECT DISTINCT ON (type, unique_key) type, unique_key, id",
        """(type, unique_key, id, holder, held_until)
    SELECT DISTINCT ON (type, unique_key) type, unique_key,
        CASE WHEN held_until IS NULL THEN id ELSE {nobody} END,
        CASE WHEN held_until IS NOT NULL THEN id END, held_until""",
    ),
    (
        "NOTHING RETURNING id\n), added",
        "NOTHING RETURNING type, unique_key, coalesce(holder, id) AS id\n), added",
    ),
    (
        "expires_at, unique_key FROM given",
        "expires_at, CASE WHEN held_until IS NULL THEN unique_key END FROM given",
    ),
    (
        "JOIN added USING (id) LEFT JOIN living ON living.id = g.worker",
        """LEFT JOIN living ON living.id = g.worker
    WHERE g.n IS NULL OR g.id IN (SELECT id FROM added)""",
    ),
    ("p.worker IS NULL\n", "p.worker IS NULL AND p.holder IS NULL\n"),
    (
        "FROM placed AS p LEFT JOIN",
        """, p.holder
FROM (SELECT id, worker, NULL::uuid AS holder FROM placed {found}) AS p LEFT JOIN""",
    ),
)
"""What makes of `admit` the one for keys that are looked at first, or that may be held not until
the end of their jobs. Of many, what was added is looked up: a join would try all pairs."""
_NOBODY: Final = "'00000000-0000-0000-0000-000000000000'::uuid"
_CHECKED: Final = """taken AS MATERIALIZED (
    SELECT a.id, a.call, a.n, k.id AS holder, a.decides OR k.held_until IS NOT NULL AS decides
    FROM asked AS a JOIN {keys} AS k USING (type, unique_key) WHERE a.call IS NOT NULL
), given AS MATERIALIZED (
    SELECT * FROM asked AS a WHERE NOT EXISTS (SELECT FROM taken AS t WHERE t.n = a.n)
    AND NOT EXISTS (SELECT FROM taken AS t WHERE t.call = a.call AND t.decides)
)"""
"""Of jobs whose calls have numbers: who has their keys. Such a job is not made, nor is any other
of its call if there is something to decide."""
_FOUND: Final = """
    UNION ALL SELECT id, NULL, CASE WHEN decides THEN {nobody} ELSE holder END FROM taken
    UNION ALL SELECT g.id, NULL, CASE
        WHEN k.id IS NOT NULL THEN k.id
        WHEN (SELECT count(*) FROM given AS o WHERE o.call = g.call) = 1 THEN {nobody}
        ELSE ('backroom asks again: the key of job ' || g.id || ' was taken just now')::uuid END
    FROM given AS g LEFT JOIN keyed AS k USING (type, unique_key)
    WHERE (SELECT count(*) FROM keyed)
        < (SELECT count(call) FROM given WHERE unique_key IS NOT NULL)
    AND g.call IS NOT NULL AND g.unique_key IS NOT NULL AND k.id IS DISTINCT FROM g.id"""
"""Who has the keys of those that were not made; nobody, where it is to be decided. A key that
somebody took in this very moment leaves a call half made: then nothing of the statement stays."""
_PRIORITIES: Final = ("critical", "high", "normal", "low")


class Statements:
    """The statements, with the names of the tables of one store: `statements["claim"]`.

    Raises:
        ConfigurationError: a name that is no plain identifier.
    """

    def __init__(self, table: str, schema: str | None) -> None:
        self.table = _checked("table_name", table)
        self.schema = None if schema is None else _checked("schema", schema)
        self._texts = {name: self.named(text) for name, text in _sections().items()}

    def __getitem__(self, name: str) -> str:
        return self._texts[name]

    def hush(self) -> None:
        """None of them calls `pg_notify` any more: whoever may not call it may not even say a
        statement that would not come to it."""
        # Its channel stays a value of the statement.
        self._texts = {n: _NOTIFY.sub(r"left(\1::text, 0)", t) for n, t in self._texts.items()}

    def bare(self, part: str) -> str:
        """The name of a table of this store, neither quoted nor with its schema."""
        return self.table if part == "jobs" else f"{self.table}_{part}"

    def __iter__(self) -> Iterator[str]:
        """The names of all."""
        return iter(self._texts)

    def name(self, part: str) -> str:
        """The quoted name of a table of this store, its schema before it."""
        own = self.bare(part)
        return f'"{own}"' if self.schema is None else f'"{self.schema}"."{own}"'

    @property
    def channel(self) -> str:
        """Where its wake-ups are heard."""
        return self.table if self.schema is None else f"{self.schema}.{self.table}"

    def making(self, text: str) -> str:
        """A text that makes tables and indexes, with their names."""
        return self.named(text, bare=tuple(_INDEX.findall(text)))

    def part(self, name: str, part: str, **values: str) -> str:
        """A statement about one partition, with its tables in place of `{jobs_part}` and
        `{ended_part}`; `values`: what else it has places for."""
        places = {"jobs_part": self.name(part), "ended_part": self.name(f"ended_{part}"), **values}
        return _PLACE.sub(lambda match: places[match[1]], self._texts[name])

    def named(self, text: str, bare: tuple[str, ...] = ()) -> str:
        """A text with the names of the tables in place of `{jobs}` and the like."""

        def named(match: re.Match[str]) -> str:
            part = match[1]
            if part in _OF_PARTS:
                return match[0]
            return f'"{self.bare(part)}"' if part in bare else self.name(part)

        return _PLACE.sub(named, text)


@cache
def _sections() -> dict[str, str]:
    texts: dict[str, str] = {}
    for file in _FILES:
        parts = _HEAD.split(read(file))
        for name, text in zip(parts[1::2], parts[2::2], strict=True):
            body = "\n".join(line for line in text.split("\n")[1:] if not line.startswith("--"))
            texts[name] = body.strip().rstrip(";")
    texts = {
        name: text.replace("{gone}", _GONE)
        .replace("{life}", _LIFE)
        .replace("{holding}", _HOLDING)
        .replace("{now}", "$3")
        .replace("{counted}", _COUNTED)
        .replace("{bytes}", _BYTES)
        .replace("{nowhere}", _NOWHERE)
        for name, text in texts.items()
    }
    for counts in ("waits", "runs", "errors"):
        merged = _MERGED.format(counts)
        texts["add_figures"] = texts["add_figures"].replace(f"{{merged_{counts}}}", merged)
    texts = {name: text.replace("{schedule_columns}", _SCHEDULE) for name, text in texts.items()}
    texts = {name: text.replace("{flow_columns}", _FLOW) for name, text in texts.items()}
    texts["admit_held"] = texts["admit"]
    for plain, held in _HELD:
        assert plain in texts["admit_held"], plain
        texts["admit_held"] = texts["admit_held"].replace(plain, held)
    for place, text in (("{checked}", _CHECKED), ("{found}", _FOUND), ("{nobody}", _NOBODY)):
        texts["admit_held"] = texts["admit_held"].replace(place, text)
    for name in ("admit", "admit_held"):
        texts[name] = texts[name].replace("{behind_mark}", _BEHIND)
    texts["next"] = texts["next"].replace("{open_next}", _opened("$1::text[]", "$2::text[]"))
    few = _opened("$1::text[]", "$6::text[]")
    due = _DUE.format(open=few, now="$3", most="$2")
    texts["claim_few"] = texts["claim_few"].replace("{due_few}", due).replace("{open_few}", few)
    due = _DUE.format(open=_opened("$1::text[]", "$4::text[]"), now="$2", most="1")
    texts["claim_one"] = texts["claim_one"].replace("{due_one}", due)
    claim = texts.pop("claim").replace("{open}", _opened("$1::text[]", "$9::text[]"))
    texts["claim"] = _claim(claim, parked=False)
    texts["claim_parked"] = _claim(claim, parked=True)
    return texts


def _opened(queues: str, but: str) -> str:
    """The queues that are asked for, and not paused."""
    return _OPEN.format(queues=queues, but=but).replace("{{", "{").replace("}}", "}")


def _claim(text: str, *, parked: bool) -> str:
    """The claim with its scans: of the jobs that starve, then one of each priority."""

    def scan(until: str, most: str, priority: str, priorities: str, but: str) -> str:
        also = ""
        if parked:
            also = _PARKED.format(
                priorities=priorities, priority=priority, until=until, most=most, but=but
            )
        return _READY.format(
            priorities=priorities, priority=priority, until=until, most=most, parked=also, but=but
        )

    every = "CROSS JOIN generate_series(0, 3) AS p (priority)"
    text = text.replace("{starving}", scan("$7", "$6", "p.priority", every, ""))
    before = ["starving"]
    for priority, name in enumerate(_PRIORITIES):
        so_far = " - ".join(f"(SELECT count(*) FROM {one})" for one in before)
        most = f"greatest(0, ($2::integer[])[{priority + 1}] - {so_far})"
        but = "AND w.id NOT IN (SELECT id FROM starving)"
        text = text.replace(f"{{{name}}}", scan("$3", most, str(priority), "", but))
        before.append(name)
    return (
        text.replace("{{", "{")
        .replace("}}", "}")
        .replace("{behind_mark}", _BEHIND)
        .replace("{kind}", _KIND)
    )


def read(file: str) -> str:
    """One of the files beside this one."""
    return files("backroom.storage.postgres").joinpath(f"{file}.sql").read_text()


def _checked(what: str, name: str) -> str:
    if not _NAME.match(str(name)) or len(name) > LONGEST_NAME:
        raise ConfigurationError(
            f"{what} must be a plain name of at most {LONGEST_NAME} letters, digits and"
            f" underscores, got {name!r}"
        )
    return name
