"""The engine prints nothing; messages are up to its caller."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

_SCRIPT = """
from sdcli import engine
from sdcli.pipeline_spec import PipelineSpec
from tests.jobs import make_job
loaded = engine.load(PipelineSpec(device="cpu"))
engine.generate_batch(loaded, [make_job(num_inference_steps=2, prompt="cat " * 90)])
"""


def test_a_run_prints_nothing() -> None:
    run = subprocess.run([sys.executable, "-c", _SCRIPT], cwd=ROOT, capture_output=True, check=True)
    assert (run.stdout, run.stderr) == (b"", b"")
