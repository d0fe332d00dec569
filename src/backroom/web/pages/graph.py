"""A workflow as a drawing: jobs in columns, from those that wait for nothing on. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from backroom.flow import WorkflowJob

__all__ = ["MOST", "Edge", "Graph", "Node", "draw"]

MOST: Final = 300
"""Jobs that are drawn; a larger workflow is shown as a list."""
_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _EDGE = 176, 44, 52, 14, 8


class Node(msgspec.Struct, frozen=True):
    job: WorkflowJob
    x: int
    y: int


class Edge(msgspec.Struct, frozen=True):
    path: str


class Graph(msgspec.Struct, frozen=True):
    width: int
    height: int
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


def draw(jobs: Sequence[WorkflowJob]) -> Graph:
    """Every edge leads to the right. Within its column a job stands near the middle of those that
    it waits for, so that few lines cross."""
    jobs = jobs[:MOST]
    known = {job.id: job for job in jobs}
    after: dict[str, list[str]] = {
        job.id: [one for one in job.after if one in known] for job in jobs
    }
    members = [job.id for job in jobs if job.role == "job"]
    for job in jobs:
        # A callback waits for all jobs of the flow: drawn from those that nothing else waits for.
        if job.role == "callback" and not after[job.id]:
            waited = {one for id_ in members for one in after[id_]}
            after[job.id] = [id_ for id_ in members if id_ not in waited]
    depth = _depths(after)
    columns: dict[int, list[str]] = {}
    for job in jobs:
        columns.setdefault(depth[job.id], []).append(job.id)
    place: dict[str, tuple[int, int]] = {}
    tallest = max((len(column) for column in columns.values()), default=0)
    row: dict[str, float] = {}
    for number in sorted(columns):
        column = columns[number]
        column.sort(key=lambda id_: _middle(after[id_], row))
        offset = (tallest - len(column)) / 2
        for at, id_ in enumerate(column):
            row[id_] = at + offset
            place[id_] = (
                _EDGE + number * (_WIDTH + _GAP_X),
                round(_EDGE + row[id_] * (_HEIGHT + _GAP_Y)),
            )
    edges = tuple(
        Edge(_curve(place[parent], place[child])) for child in place for parent in after[child]
    )
    return Graph(
        2 * _EDGE + max(1, len(columns)) * (_WIDTH + _GAP_X) - _GAP_X,
        2 * _EDGE + max(1, tallest) * (_HEIGHT + _GAP_Y) - _GAP_Y,
        tuple(Node(job, *place[job.id]) for job in jobs),
        edges,
    )


def _depths(after: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """How many steps each is from those that wait for nothing, by the longest way."""
    depth: dict[str, int] = {}
    for start in after:
        stack = [start]
        while stack:
            id_ = stack[-1]
            missing = [one for one in after[id_] if one not in depth]
            if missing and len(stack) <= len(after):
                stack.extend(missing)
                continue
            depth[id_] = max((depth.get(one, 0) + 1 for one in after[id_]), default=0)
            stack.pop()
    return depth


def _middle(parents: Sequence[str], row: Mapping[str, float]) -> float:
    known = [row[one] for one in parents if one in row]
    return sum(known) / len(known) if known else 0.0


def _curve(start: tuple[int, int], end: tuple[int, int]) -> str:
    x1, y1 = start[0] + _WIDTH, start[1] + _HEIGHT // 2
    x2, y2 = end[0], end[1] + _HEIGHT // 2
    bend = max(20, (x2 - x1) // 2)
    return f"M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"
