"""The speed scenario, on the CPU with the embedded model, and the random models that it makes."""

from __future__ import annotations

import json
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch

from sdcli.bench.machine import describe_machine
from sdcli.bench.measure import Timing, measure
from sdcli.bench.random_model import RANDOM_MODELS, model_or_random
from sdcli.bench.speed import PUBLISHED, describe_speed, speed_commands, speed_table
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from tests.conftest import RunCli


@pytest.mark.parametrize(("name", "unet"), [("sd15", 859_520_964), ("sdxl", 2_567_463_684)])
def test_a_random_model_has_the_true_size(
    monkeypatch: pytest.MonkeyPatch, name: str, unet: int
) -> None:
    import diffusers

    made: list[Any] = []
    args = {"out": "", "tokenizer": str(EMBEDDED_FOLDER / "tokenizer")}
    monkeypatch.setattr("sys.argv", ["-c", json.dumps(args)])
    monkeypatch.setattr(
        diffusers.DiffusionPipeline, "save_pretrained", lambda self, out: made.append(self)
    )
    # It copies its sigmas, which a device without memory cannot.
    monkeypatch.setattr(diffusers, "EulerDiscreteScheduler", diffusers.DDIMScheduler)
    # Without memory for the weights.
    with torch.device("meta"):
        exec(RANDOM_MODELS[name], {})
    [pipeline] = made
    assert pipeline.unet.num_parameters() == unet
    assert pipeline.vae.num_parameters() == 83_653_863


def test_another_model_is_taken_as_it_is() -> None:
    with model_or_random("embedded") as model:
        assert model == "embedded"


def test_the_commands_run_and_are_told() -> None:
    steps = (1, 2)
    with TemporaryDirectory() as out:
        commands = speed_commands("tiny", str(EMBEDDED_FOLDER), "cpu", out, 64, steps)
        document = describe_speed(measure(commands, rounds=1, uncounted=0), steps)
    names = [row["name"] for row in document["contestants"]]
    assert names == ["tiny, plain Diffusers script", "tiny, sdcli generate"]
    assert all(row["split"]["peak_gb"] > 0 for row in document["contestants"])
    assert document["device_name"] == "cpu"


def test_a_step_is_timed_without_encoding_and_decoding() -> None:
    texts = [json.dumps({"draw": [1.5, 3.5], "peak_gb": 4.0, "device_name": "A card"})]
    document = describe_speed([Timing(name="sd15", seconds=[9.0], stdout=texts)])
    [row] = document["contestants"]
    assert (row["iterations_per_second"], row["median_seconds"]) == (10.0, 3.5)
    table = speed_table(document | {"published": PUBLISHED}, describe_machine())
    assert table.startswith("A card, torch ")
    assert "| sd15 | 10.0 | 3.50 | 1.00 × | 4.0 GB |\n" in table
    assert "stable-fast | 55 |" in table


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (("--device", "cuda:99"), 4, "no device 'cuda:99'"),
        (("one", "--device", "cuda"), 2, "cuda has no effect on one"),
        (("one", "--model", "sdxl"), 2, "one cannot be run with sdxl"),
        (("preview", "start", "--model", "sd15"), 2, "sd15 has no effect on preview, start"),
    ],
)
def test_what_cannot_be_timed_is_refused(
    run_cli: RunCli, argv: tuple[str, ...], code: int, said: str
) -> None:
    ran = run_cli("bench", *argv)
    assert (ran.code, said in ran.stderr) == (code, True)
