"""Runs through the real `deliver.run`, on the embedded model at one step."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sdcli.pipeline_spec import PipelineSpec
from sdcli.prompts.sources import IterableSource
from sdcli.request import GenerationRequest
from sdcli.runner.deliver import run
from sdcli.runner.options import RunOptions

CPU = PipelineSpec(device="cpu", dtype="float32")


def make_request(prompt: str, **changes: Any) -> GenerationRequest:
    """A request that is quick to generate."""
    values = {"spec": CPU, "seed": 7, "num_inference_steps": 1, "width": 64, "height": 64}
    return GenerationRequest(prompt=prompt, **{**values, **changes})


@dataclass(frozen=True)
class Batch:
    """The output of one start of a batch."""

    code: int
    events: list[dict[str, Any]]
    stderr: str

    @property
    def done(self) -> dict[str, Any]:
        return self.events[-1]

    @property
    def paths(self) -> list[Path]:
        return [Path(event["path"]) for event in self.events if event.get("skipped") is False]


RunBatch = Callable[..., Batch]


@pytest.fixture
def run_batch(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> RunBatch:
    """`run_batch(requests, **options)`: one start of a batch into tmp_path/outputs."""

    def start(
        requests: list[GenerationRequest], batch_size: int = 1, cache: Any = None, **changes: Any
    ) -> Batch:
        capfd.readouterr()
        values = {"out": str(tmp_path / "outputs"), "journal": True, "report": "jsonl"}
        options = RunOptions(expected_images=len(requests), **{**values, **changes})
        caches = {"cache": cache} if cache else {}
        code = run(IterableSource(requests), options, batch_size=batch_size, **caches)
        out, err = capfd.readouterr()
        return Batch(code, [json.loads(line) for line in out.splitlines()], err)

    return start


def hash_images(folder: Path) -> dict[str, str]:
    """File name -> hash of the pixels, of every image in a folder; each must be complete."""
    from sdcli.storage.images.codec import read_image_info

    return {
        path.name: read_image_info(path)["pixels_sha256"] for path in sorted(folder.glob("*.png"))
    }


def list_leftovers(folder: Path) -> list[str]:
    """Files of the folder that are neither images nor the journal."""
    names = (path.name for path in folder.iterdir())
    return [n for n in names if not n.endswith(".png") and n != "sdcli-journal.jsonl"]
