"""Test the records and names of images decoded from saved latents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from sdcli.errors import CorruptError
from sdcli.pipeline_spec import PipelineSpec
from sdcli.request import GenerationRequest
from sdcli.storage.latents.decoded_record import (
    DecodeInfo,
    base_stem,
    decoded_name,
    decoded_record,
    merge_events,
    rerendered_record,
)
from sdcli.storage.latents.latents_file import LatentsFile
from sdcli.storage.latents.reader import read_any_latents_file, read_latents_file
from tests.storage.latents_files import SHAPE, rewrite, write_complete_file

RESUMED = "steps up to 2 are those of b.latents.safetensors, with prompt 'a dog'"
FALLBACK = "VAE: out of memory, decoded in tiles"
PIXELS = np.zeros((64, 64, 3), np.uint8)


def info(**changes: Any) -> DecodeInfo:
    facts: dict[str, Any] = {
        "spec": PipelineSpec(),
        "tiling": "auto",
        "dtype": "float32",
        "device": "cpu",
        "weights": {"vae": "ef" * 32},
        "events": (),
        "versions": {"sdcli": "1"},
    }
    return DecodeInfo(**facts | changes)


def test_events_of_the_run_are_kept_and_those_of_its_decode_are_replaced() -> None:
    run = {"events": ["the prompt was cut", FALLBACK, RESUMED]}
    assert merge_events(run, ["VAE: decoded in float32"]) == [
        "the prompt was cut",
        RESUMED,
        "VAE: decoded in float32",
    ]
    assert merge_events({}, [FALLBACK]) == [FALLBACK]


@given(st.none() | st.integers() | st.lists(st.text() | st.none() | st.lists(st.text())))
def test_events_of_any_file_can_be_merged(events: Any) -> None:
    merged = merge_events({"events": events}, ["a", "b"])
    assert {"a", "b"} <= set(merged)
    assert len(merged) == len(set(merged))
    assert merge_events({"events": merged}, ["a", "b"]) == merged


@pytest.fixture
def run_file(tmp_path: Path) -> LatentsFile:
    return read_latents_file(write_complete_file(tmp_path, events=(FALLBACK, RESUMED)))


def test_both_decoders_keep_the_event_of_a_resumed_run(run_file: LatentsFile) -> None:
    by_vae = decoded_record(run_file, "final", 0, PIXELS, info())
    by_latents = rerendered_record(run_file, PIXELS, run_file.request.spec, "auto", ())
    assert by_latents
    assert by_vae["events"] == by_latents["events"] == [RESUMED]


def test_the_record_of_the_final_latents_is_the_runs_with_this_vae(run_file: LatentsFile) -> None:
    spec = PipelineSpec(vae="tiny", force_vae=True)
    record = decoded_record(run_file, "final", 0, PIXELS, info(spec=spec, tiling="on"))
    changes = {"vae": "tiny", "force_vae": True, "vae_tiling": "on"}
    assert record["request"] == {**run_file.record["request"], **changes}
    assert GenerationRequest.from_dict(record["request"]).spec.vae == "tiny"
    assert record["weights"] == {"unet": "ab" * 32, "vae": "ef" * 32}
    assert record["decoded"]["tensor"] == "final"


def test_the_record_of_another_step_has_no_request(run_file: LatentsFile) -> None:
    record = decoded_record(run_file, "xt_0002", 0, PIXELS, info(events=(FALLBACK,)))
    assert (record["request"], record["events"]) == ({}, [FALLBACK])


def test_an_incomplete_record_is_corrupt(tmp_path: Path) -> None:
    path = write_complete_file(tmp_path)
    rewrite(path, record=json.dumps({"request": {"prompt": "a cat"}}))
    with pytest.raises(CorruptError, match="incomplete record"):
        decoded_record(read_any_latents_file(path), "final", 0, PIXELS, info())


def test_rerendering_keeps_the_record_but_for_vae_and_pixels(run_file: LatentsFile) -> None:
    run = run_file.record
    spec = run_file.request.spec
    record = rerendered_record(run_file, PIXELS, spec, run["request"]["vae_tiling"], ())
    assert record
    assert {**record, "pixels": run["pixels"], "events": run["events"]} == run
    other = rerendered_record(run_file, PIXELS, PipelineSpec(vae="tiny"), None, ())
    assert other
    assert "vae" not in other["weights"]


def test_no_request_describes_an_image_of_another_models_vae(run_file: LatentsFile) -> None:
    spec = PipelineSpec(model="./other")
    assert rerendered_record(run_file, PIXELS, spec, None, ()) is None


def test_names_come_from_the_file_the_tensor_and_the_image(tmp_path: Path) -> None:
    path = tmp_path / "0012-A cat.latents.safetensors"
    save_file({"final": np.zeros(SHAPE), "xt_0002": np.ones(SHAPE)}, path)
    file = read_any_latents_file(path)
    assert decoded_name(file, "final", 0, several=False) == "a-cat"
    assert decoded_name(file, "xt_0002", 0, several=False) == "a-cat-xt-0002"
    assert decoded_name(file, "final", 3, several=True) == "a-cat-3"


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("0001-a-cat-7.png", "a-cat-7"),
        ("0001-a-cat-7.latents.safetensors", "a-cat-7"),
        ("x.safetensors", "x"),
        ("00001-a.b.webp", "a-b"),
        ("12-a.png", "12-a"),
    ],
)
def test_a_base_stem_has_no_number_and_no_suffix(name: str, stem: str) -> None:
    assert base_stem(Path(name)) == stem
