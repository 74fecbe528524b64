"""Batches through the real `run.deliver`, on the embedded model at one step."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sdcli.prompts.sources import IterableSource
from sdcli.request import GenerationRequest, PipelineSpec
from sdcli.runner.deliver import run
from sdcli.runner.options import RunOptions

CPU = PipelineSpec(device="cpu", dtype="float32")


def asked(prompt: str, **more: Any) -> GenerationRequest:
    """A request that is quick to make."""
    given = {"spec": CPU, "seed": 7, "num_inference_steps": 1, "width": 64, "height": 64}
    return GenerationRequest(prompt=prompt, **{**given, **more})


@dataclass(frozen=True)
class Batch:
    """What one start of a batch said."""

    code: int
    events: list[dict[str, Any]]
    stderr: str

    @property
    def done(self) -> dict[str, Any]:
        return self.events[-1]

    @property
    def paths(self) -> list[Path]:
        return [Path(event["path"]) for event in self.events if event["event"] == "image"]


RunBatch = Callable[..., Batch]


@pytest.fixture
def run_batch(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> RunBatch:
    """`run_batch(requests, **delivery)`: one start of a batch into tmp_path/outputs."""

    def start(requests: list[GenerationRequest], batch_size: int = 1, **more: Any) -> Batch:
        capfd.readouterr()
        given = {"out": str(tmp_path / "outputs"), "journal": True, "report": "jsonl"}
        delivery = RunOptions(expected_images=len(requests), **{**given, **more})
        code = run(IterableSource(requests), delivery, batch_size=batch_size)
        out, err = capfd.readouterr()
        return Batch(code, [json.loads(line) for line in out.splitlines()], err)

    return start


def pictures(folder: Path) -> dict[str, str]:
    """File name -> hash of the pixels, of every image in a folder; each must be whole."""
    from sdcli.storage.images.codec import read_image_info

    return {
        path.name: read_image_info(path)["pixels_sha256"] for path in sorted(folder.glob("*.png"))
    }


def clutter(folder: Path) -> list[str]:
    """What lies in the folder and is neither an image nor the journal."""
    names = (path.name for path in folder.iterdir())
    return [n for n in names if not n.endswith(".png") and n != "sdcli-journal.jsonl"]
