"""The application of the row on scaling."""

from __future__ import annotations

import os

from backroom import FileJobStorage, JobService
from benchmarks.cases import spin

service = JobService(FileJobStorage(os.environ.get("BENCH_FOLDER", "./storage/bench")))
service.register_handler("SPIN", spin)
