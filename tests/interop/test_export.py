"""Test that an exported command or line is parsed back to the same request."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdcli.catalog.schedulers.resolve import resolve_scheduler
from sdcli.catalog.schedulers.sampler_table import SAMPLERS
from sdcli.cli import main
from sdcli.errors import ExitCode, UsageError
from sdcli.interop.export import to_command, to_prompt_line, to_request_fields
from sdcli.interop.readers import read_foreign
from sdcli.pipeline_spec import DTYPES, PipelineSpec
from sdcli.request import VAE_TILINGS, GenerationRequest
from sdcli.runner import deliver
from sdcli.storage.metadata import record
from tests.jobs import make_result

WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
NAMES = st.text("abc-/. _'\"", min_size=1, max_size=12).filter(lambda name: name == name.strip())
SCHEDULERS = [
    resolve_scheduler(f"{row.name} {schedule}").label
    for row in SAMPLERS
    for schedule in row.schedules or ("",)
]
SPECS = st.builds(
    PipelineSpec,
    model=NAMES,
    vae=st.none() | NAMES,
    dtype=st.none() | st.sampled_from(DTYPES),
    device=st.sampled_from(["auto", "cpu", "cuda", "cuda:1"]),
    variant=st.none() | st.just("fp16"),
    offline=st.booleans(),
    force_vae=st.booleans(),
)
REQUESTS = st.builds(
    GenerationRequest,
    prompt=WORDS.filter(lambda text: text != "-"),
    negative_prompt=st.none() | WORDS,
    spec=SPECS,
    scheduler=st.none() | st.sampled_from([*SCHEDULERS, "Euler;timestep_spacing=trailing"]),
    num_inference_steps=st.integers(1, 1000),
    guidance_scale=st.floats(0, 1000),
    guidance_rescale=st.floats(0, 1),
    eta=st.floats(0, 1),
    clip_skip=st.none() | st.integers(0, 100),
    width=st.integers(8, 16384),
    height=st.integers(8, 16384),
    seed=st.integers(0, 2**63 - 1),
    vae_tiling=st.none() | st.sampled_from(VAE_TILINGS),
)


def words(command: str) -> list[str]:
    """The words that bash makes of a command."""
    script = f"set -- {command}\nprintf '%s\\0' \"$@\""
    made = subprocess.run(
        ["bash", "-c", script], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"}
    )
    return made.stdout.decode("utf-8").split("\0")[:-1]


def parse_command(argv: list[str]) -> list[GenerationRequest]:
    """The requests of a `sdcli generate` command line."""
    requests: list[GenerationRequest] = []

    def take(source: Any, *_: object, **__: object) -> ExitCode:
        requests.extend(source.take(9, wait=True))
        return ExitCode.OK

    with patch.object(deliver, "run", take):
        assert main(argv) == 0
    return requests


@settings(max_examples=150)
@given(REQUESTS)
def test_a_command_asks_for_what_the_record_says(request_: GenerationRequest) -> None:
    program, *argv = words(to_command(request_.to_dict()))
    assert program == "sdcli"
    assert parse_command(argv) == [request_]


@given(REQUESTS)
def test_a_line_asks_for_what_the_record_says(request_: GenerationRequest) -> None:
    line = to_prompt_line(request_.to_dict())
    assert GenerationRequest.from_dict(json.loads(line)) == request_


def test_the_record_of_every_sampler_is_a_command() -> None:
    for label in SCHEDULERS:
        facts = record.make_record(make_result(scheduler_label=label), {"sdcli": "0.1.0"})
        _, *argv = words(to_command(facts["request"]))
        assert parse_command(argv) == [GenerationRequest.from_dict(facts["request"])]


VALUES = st.sampled_from(
    ["1", "0", "-1", "7.5", "512x512", "9x99999999", "512", "1,2", "Euler"]
) | (st.text(max_size=8))
FIELDS = st.dictionaries(
    st.sampled_from(["Steps", "Sampler", "Schedule type", "CFG scale", "Seed", "Size", "Eta"])
    | st.sampled_from(["CFG Rescale phi", "Eta DDIM", "Clip skip", "Tiling", "Model"]),
    VALUES,
    max_size=9,
)


@settings(max_examples=200)
@given(WORDS, FIELDS)
def test_fields_of_any_a1111_text_are_a_command(prompt: str, fields: dict[str, str]) -> None:
    line = ", ".join(f"{name}: {value}" for name, value in fields.items())
    reading = read_foreign(Path("none.png"), f"{prompt}\nSteps: 20, {line}")
    assert reading
    taken, _ = to_request_fields(reading)
    assert ("width" in taken) == ("height" in taken)
    if taken["prompt"] == "-" or "\0" in str(taken["prompt"]):  # no argument can be that
        with pytest.raises(UsageError):
            to_command(taken)
    else:
        _, *argv = words(to_command(taken))
        assert parse_command(argv) == [GenerationRequest.from_dict(taken)]


@pytest.mark.parametrize(
    ("settings_text", "left"),
    [
        ("Refiner switch at: 0.5", {"refiner_at"}),
        ("Denoising strength: 0.5", {"strength"}),
        ("Mask blur: 4, Masked area padding: 8", {"mask_blur", "inpaint_padding"}),
        ("Hires steps: 4", {"hires_steps"}),
        ("Hires upscale: 2, Hires steps: 4, Denoising strength: 0.5", set()),
    ],
)
def test_a_field_without_what_it_needs_is_left_out(settings_text: str, left: set[str]) -> None:
    reading = read_foreign(Path("none.png"), f"a cat\nSteps: 20, Seed: 1, {settings_text}")
    assert reading
    fields, left_out = to_request_fields(reading)
    assert set(left_out) == left
    assert not left & fields.keys()


@pytest.mark.parametrize(
    "request_",
    [
        {"prompt": "-"},
        {"prompt": "a", "model": "/models/a,b"},
        {"prompt": "a", "vae": "a,"},
        {"prompt": "a", "model": " a"},
        {"prompt": "a", "width": 64},
    ],
)
def test_values_that_a_command_cannot_express_are_refused(request_: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"a command line can.t express"):
        to_command(request_)
    line = to_prompt_line(request_)
    assert GenerationRequest.from_dict(json.loads(line)) == GenerationRequest.from_dict(request_)
