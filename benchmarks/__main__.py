"""`python -m benchmarks embedded [--quick] [--json FILE] [ROW ...]`."""

from __future__ import annotations

import argparse
import sys

from benchmarks import embedded


def main() -> int:
    parser = argparse.ArgumentParser(prog="dev.py bench", description=__doc__)
    suites = parser.add_subparsers(dest="suite", required=True)
    suite = suites.add_parser("embedded", help="the file storage, against bare SQLite")
    suite.add_argument("rows", nargs="*", metavar="ROW", help=f"of: {', '.join(embedded.ROWS)}")
    suite.add_argument("--quick", action="store_true", help="a tenth of the jobs, one run each")
    suite.add_argument("--runs", type=int, default=3, help="runs a figure; their median is shown")
    suite.add_argument("--json", metavar="FILE", help="write the figures there")
    arguments = parser.parse_args()
    unknown = set(arguments.rows) - set(embedded.ROWS)
    if unknown:
        parser.error(f"unknown rows: {', '.join(sorted(unknown))}")
    return embedded.run(arguments.rows, arguments.quick, arguments.runs, arguments.json)


if __name__ == "__main__":
    sys.exit(main())
