"""`python -m benchmarks SUITE [--quick] [--json FILE] [ROW ...]`."""

from __future__ import annotations

import argparse
import sys

from benchmarks import dashboard, embedded, faces, flow, postgres, scale, watch

SUITES = {
    "embedded": (embedded, "the file storage, against bare SQLite"),
    "scale": (scale, "what one PostgreSQL carries, by a model of what is measured here"),
    "postgres": (postgres, "the PostgreSQL storage, against bare psycopg"),
    "flow": (flow, "schedules, unique keys, limits, turns, on the file storage and on PostgreSQL"),
    "watch": (watch, "what people ask of a million jobs while others run"),
    "dashboard": (dashboard, "pages and answers over a million jobs, and what viewers cost"),
    "faces": (faces, "handlers of every kind, the service without asyncio, the command line"),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="dev.py bench", description=__doc__)
    suites = parser.add_subparsers(dest="suite", required=True)
    for name, (module, help_) in SUITES.items():
        suite = suites.add_parser(name, help=help_)
        suite.add_argument("rows", nargs="*", metavar="ROW", help=f"of: {', '.join(module.ROWS)}")
        suite.add_argument("--quick", action="store_true", help="a tenth of the jobs, one run each")
        suite.add_argument("--runs", type=int, default=3, help="runs a figure; medians are shown")
        suite.add_argument("--json", metavar="FILE", help="write the figures there")
    arguments = parser.parse_args()
    module, _ = SUITES[arguments.suite]
    unknown = set(arguments.rows) - set(module.ROWS)
    if unknown:
        parser.error(f"unknown rows: {', '.join(sorted(unknown))}")
    return module.run(arguments.rows, arguments.quick, arguments.runs, arguments.json)


if __name__ == "__main__":
    sys.exit(main())
