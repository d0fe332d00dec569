"""An application whose handlers run in child processes, and are traced there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from backroom import Job, JobService
from backroom.contrib.opentelemetry import trace_jobs

provider = TracerProvider()
service = JobService(f"file:{Path(os.environ.get('OTEL_TEST_FOLDER', '/nowhere')) / 'jobs'}")
trace_jobs(service, provider)


@service.handler("APART", isolation="process")
def apart(job: Job[Any]) -> dict[str, Any]:
    span: Any = trace.get_current_span()
    return {
        "pid": os.getpid(),
        "name": span.name,
        "links": [f"{link.context.trace_id:032x}" for link in span.links],
    }
