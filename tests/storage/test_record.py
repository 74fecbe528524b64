"""Test the record, and A1111's text as another program reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from sd_parsers import ParserManager

from sdcli.catalog.schedulers.class_options import CONSTRUCTORS
from sdcli.catalog.schedulers.resolve import ResolvedScheduler, resolve_scheduler
from sdcli.catalog.schedulers.sampler_table import SAMPLERS
from sdcli.errors import OutputError, UsageError
from sdcli.interop.export import to_request_fields
from sdcli.interop.readers import read_foreign
from sdcli.pipeline_spec import PipelineSpec
from sdcli.request import GenerationRequest
from sdcli.result import SavedImage
from sdcli.storage.images.destination import parse_destination
from sdcli.storage.images.writer import write_image
from sdcli.storage.metadata import record
from sdcli.storage.metadata.a1111_parameters import format_parameters
from tests.jobs import make_job, make_result

VERSIONS = {"sdcli": "0.1.0"}
DPM_KARRAS: dict[str, Any] = {
    "scheduler_class": "DPMSolverMultistepScheduler",
    "scheduler_config": {"algorithm_type": "dpmsolver++", "use_karras_sigmas": True},
}


def test_the_request_of_a_record_leaves_nothing_open() -> None:
    result = make_result(clip_skip=1, eta=0.5)
    request = GenerationRequest.from_dict(record.make_record(result, VERSIONS)["request"])
    job = make_job(clip_skip=1, eta=0.5)
    for name in ("prompt", "spec", "num_inference_steps", "guidance_scale", "eta", "clip_skip"):
        assert getattr(request, name) == getattr(job, name)
    assert (request.seed, request.scheduler) == (job.seed, job.scheduler_label)


def test_a_dtype_that_the_device_chose_is_part_of_the_request() -> None:
    result = make_result(spec=PipelineSpec(), dtype="float16")
    assert record.make_record(result, VERSIONS)["request"]["dtype"] == "float16"


def test_a_record_is_json_and_tells_the_pixels() -> None:
    result = make_result()
    facts = record.make_record(result, VERSIONS)
    assert json.loads(record.record_json(facts)) == facts
    changed = result.pixels.copy()
    changed[0, 0, 0] ^= 1
    assert record.pixels_sha256(changed) != facts["pixels"]["sha256"]
    assert record.pixels_sha256(result.pixels.reshape(32, 128, 3)) != facts["pixels"]["sha256"]


def test_a1111_text_in_full() -> None:
    result = make_result(
        **DPM_KARRAS, prompt="a cat", negative_prompt="a dog", guidance_scale=7.0, clip_skip=1
    )
    assert format_parameters(record.make_record(result, VERSIONS)) == (
        "a cat\n"
        "Negative prompt: a dog\n"
        "Steps: 4, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 7, Size: 64x64, "
        "Model: tiny-emoji-128, Clip skip: 2, RNG: CPU, Version: sdcli 0.1.0"
    )


@pytest.mark.parametrize(
    ("value", "quoted"),
    [("plain", "plain"), ("a, b", '"a, b"'), ("a: b", '"a: b"'), ('a "b", c', r'"a \"b\", c"')],
)
def test_values_that_would_end_early_are_quoted(value: str, quoted: str) -> None:
    facts = record.make_record(make_result(), VERSIONS)
    facts["request"]["model"] = value
    assert f"Model: {quoted}, RNG" in format_parameters(facts)


def test_eta_has_a1111_s_name_for_ddim_s() -> None:
    facts = record.make_record(make_result(eta=0.5), VERSIONS)
    assert ", Eta DDIM: 0.5, RNG" in format_parameters(facts)


def test_another_tool_reads_it(tmp_path: Path) -> None:
    result = make_result(**DPM_KARRAS, prompt="a cat, a guitar", negative_prompt="a dog")
    destination = parse_destination(str(tmp_path / "cat.png"), several=False, force=False)
    path = write_image(result, destination, versions=VERSIONS).path
    info: Any = ParserManager().parse(path)
    [sampler] = info.samplers
    assert sampler.name == "DPM++ 2M"
    assert sampler.parameters["seed"] == "7"
    assert sampler.parameters["steps"] == "4"
    assert sampler.parameters["scheduler"] == "Karras"
    assert [prompt.value for prompt in info.prompts] == ["a cat, a guitar"]
    assert [prompt.value for prompt in info.negative_prompts] == ["a dog"]
    assert info.metadata["Size"] == "64x64"


def test_another_tool_reads_that_a_schedule_is_not_automatic(tmp_path: Path) -> None:
    config = {**DPM_KARRAS["scheduler_config"], "use_karras_sigmas": False}
    result = make_result(**DPM_KARRAS | {"scheduler_config": config})
    destination = parse_destination(str(tmp_path / "cat.png"), several=False, force=False)
    info: Any = ParserManager().parse(write_image(result, destination, versions=VERSIONS).path)
    [sampler] = info.samplers
    assert (sampler.name, sampler.parameters["scheduler"]) == ("DPM++ 2M", "Uniform")


def test_a_sidecar_is_the_record_and_overwrites_nothing(tmp_path: Path) -> None:
    written = SavedImage(path=str(tmp_path / "cat.png"), result=make_result(prompt="猫"))
    path = Path(record.write_sidecar(written, VERSIONS))
    assert path == tmp_path / "cat.json"
    assert json.loads(path.read_text("utf-8")) == record.make_record(written.result, VERSIONS)
    with pytest.raises(OutputError, match="exists"):
        record.write_sidecar(written, VERSIONS)
    with pytest.raises(UsageError, match="stdout"):
        record.write_sidecar(SavedImage(path="-", result=written.result), VERSIONS)


def _selections() -> list[ResolvedScheduler]:
    """Every sampler with every schedule that it has."""
    return [
        resolve_scheduler(f"{row.name} {schedule}")
        for row in SAMPLERS
        for schedule in row.schedules or ("",)
    ]


@pytest.mark.parametrize("selection", _selections(), ids=lambda selection: selection.label)
def test_every_sampler_comes_back_from_its_a1111_text(
    selection: ResolvedScheduler, tmp_path: Path
) -> None:
    class_name = str(selection.choice.class_name)
    eta = 0.5 if selection.sampler and selection.sampler.takes_eta else 0.0
    result = make_result(
        scheduler_label=selection.label,
        scheduler_class=class_name,
        scheduler_config={**CONSTRUCTORS[class_name], **dict(selection.choice.config)},
        eta=eta,
    )
    text = format_parameters(record.make_record(result, VERSIONS))
    path = tmp_path / "cat.png"
    info = PngInfo()
    info.add_itxt("parameters", text)
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)

    theirs: Any = ParserManager().parse(path)
    [sampler] = theirs.samplers
    assert selection.sampler
    assert sampler.name == selection.sampler.name

    reading = read_foreign(path, text)
    assert reading
    taken, _ = to_request_fields(reading)
    assert resolve_scheduler(taken["scheduler"]).label == selection.label
    job = result.job
    for name in ("prompt", "num_inference_steps", "guidance_scale", "seed", "width", "height"):
        assert taken[name] == getattr(job, name)
    assert taken.get("eta", 0.0) == eta


def test_no_part_of_a_record_has_the_path_of_a_model() -> None:
    spec = PipelineSpec(model="/home/me/mine", vae="/home/me/vae.safetensors", dtype="float32")
    result = make_result(spec=spec, events=("VAE: /home/me/vae.safetensors is odd",))
    facts = record.make_record(result, VERSIONS)
    assert "/home" not in json.dumps(facts)
    assert "/home" not in format_parameters(facts)
    assert (facts["request"]["model"], facts["request"]["vae"]) == ("mine", "vae.safetensors")
    full = record.make_record(result, VERSIONS, full_paths=True)
    assert full["request"]["model"] == "/home/me/mine"
    assert full["events"] == list(result.events)
