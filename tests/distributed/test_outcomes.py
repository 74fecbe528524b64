"""Jobs that were settled when a worker came to them."""

from __future__ import annotations

from pathlib import Path

from sdcli.distributed.messages import Settled
from sdcli.errors import ModelError
from tests.distributed.runs import opened_run
from tests.jobs import make_job

JOB = make_job()


def test_a_failure_that_a_dead_worker_left_in_the_journal_keeps_its_code(tmp_path: Path) -> None:
    with opened_run(tmp_path) as run:
        outcomes, results = run.outcomes, run.outcomes.results
        assert results.writer.jobs
        outcomes.hand_out([JOB], may_repeat=True)
        error = ModelError("bad: it does not load", code="model.unloadable")
        results.writer.jobs.record_failure([JOB], error)
        outcomes.handle(Settled((JOB.index,)))
        [found] = results.errors
    assert (found.code, found.message) == ("model.unloadable", "bad: it does not load")
