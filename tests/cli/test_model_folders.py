"""Hostile and contradictory model folders: one line of error, or the picture of Diffusers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from sdcli import engine
from sdcli.catalog.schedulers.resolve import SchedulerConfig
from sdcli.checkpoints.fingerprint import fingerprint
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER, read_defaults
from sdcli.checkpoints.model_index import check_pipeline, find_notes
from sdcli.pipeline_spec import PipelineSpec
from tests.fuzz.model_folders import PICKED, SETTINGS, Case, drop, put, run
from tests.jobs import make_job


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return Path(shutil.copytree(EMBEDDED_FOLDER, tmp_path / "model"))


# The rest runs with the fuzz.
@pytest.mark.sample(9)
@pytest.mark.parametrize("case", PICKED[::8], ids=lambda case: case.name)
def test_a_hostile_folder_ends_in_one_line(case: Case) -> None:
    assert run(case) == []


UNET, TEXT, VAE = "unet/config.json", "text_encoder/config.json", "vae/config.json"
INDEX, SCHEDULER = "model_index.json", "scheduler/scheduler_config.json"
SPECIAL = "tokenizer/special_tokens_map.json"


@pytest.mark.sample(16)
@pytest.mark.parametrize(
    ("case", "code", "message"),
    [
        (put(UNET, in_channels=5), 3, "5 input channels"),
        (put(UNET, in_channels=9), 2, "--image FILE --mask FILE"),
        (put(UNET, addition_embed_type="text_time"), 3, "addition_embed_type"),
        (put(UNET, cross_attention_dim=96), 3, "those of its text encoder are 128"),
        (put(UNET, quantization_config={"quant_method": "x"}), 3, "quantized"),
        (put(TEXT, quantization_config={"quant_method": "x"}), 3, "quantized"),
        (put(UNET, sample_size={}), 7, "sample_size is {}; it must be"),
        (put(UNET, block_out_channels=None), 7, "block_out_channels is null"),
        (put(UNET, norm_eps="x"), 7, 'norm_eps is "x"'),
        (put(UNET, sample_size=[16]), 7, "or a list of 2 values, each a whole number"),
        (put(UNET, downsample_padding=7), 7, "downsample_padding is 7; it must be 0 or 1"),
        (put(UNET, attention_head_dim=5), 7, "of shape [128], but its configuration says [125]"),
        (put(UNET, down_block_types=["os"] * 3), 7, "Diffusers cannot load it: os does not exist"),
        (put(TEXT, num_hidden_layers=4), 7, "does not fit the weights"),
        (put(TEXT, hidden_act="nope"), 7, "it names 'nope', which the library does not have"),
        (put(UNET, act_fn="nope"), 7, "nope not found"),
        (put(UNET, _diffusers_version=8), 7, "_diffusers_version is 8"),
        (put(VAE, act_fn="nope"), 7, "nope not found"),
        (put(VAE, block_out_channels=[65536] * 4), 7, "block_out_channels is 65536, which does"),
        (put(VAE, layers_per_block=200), 7, "layers_per_block is 200, which does not fit"),
        (put(VAE, in_channels=7), 7, "in_channels is 7, which does not fit"),
        (put(VAE, out_channels=900), 7, "out_channels is 900, which does not fit"),
        (put("tokenizer/tokenizer_config.json", model_max_length="x"), 7, "model_max_length"),
        (put(INDEX, unet=["evil", "Evil"]), 3, "sdcli needs UNet2DConditionModel"),
        (put(INDEX, unet=["transformers", "UNet2DConditionModel"]), 3, "of Diffusers"),
        (put(INDEX, vae=["transformers", "AutoencoderKL"]), 3, "sdcli needs a class of Diffusers"),
        (put(INDEX, scheduler=["transformers", "DDIMScheduler"]), 3, "a class of Diffusers"),
        (put(INDEX, scheduler=["diffusers", None]), 3, "a class of Diffusers"),
        (put(INDEX, scheduler=["diffusers", "Nope"]), 3, "model_index.json: Diffusers has no"),
        (put(INDEX, text_encoder=[None, None]), 3, "sdcli needs CLIPTextModel"),
        (put(INDEX, text_encoder=["diffusers", "CLIPTextModel"]), 3, "of Transformers"),
        (put(INDEX, tokenizer=["transformers", "T5Tokenizer"]), 3, "needs CLIPTokenizer or"),
        (put(INDEX, tokenizer=["transformers", "AutoTokenizer"]), 3, "needs CLIPTokenizer or"),
        (put(INDEX, tokenizer=["diffusers", "CLIPTokenizer"]), 3, "needs CLIPTokenizer or"),
        (drop(INDEX, "tokenizer"), 3, "tokenizer is missing; sdcli needs CLIPTokenizer"),
        (drop(INDEX, "scheduler"), 3, "scheduler is missing; sdcli needs a class"),
        (drop(INDEX, "_class_name"), 3, "_class_name, is null; sdcli needs StableDiffusion"),
        (put("sdcli.json", width=True), 7, "width is true; it must be a whole number, 1 to"),
        (put("sdcli.json", width=0), 7, "width is 0; it must be a whole number, 1 to"),
        (put("sdcli.json", words=[{}]), 7, "words is [{}]; it must be a list of 0 to"),
        (put("sdcli.json", scheduler="os"), 2, "the model's sdcli.json: unknown scheduler 'os'"),
        (put(SCHEDULER, beta_start="x"), 7, 'beta_start is "x"; it must be a number, 0 to 1'),
        (put(TEXT, eos_token_id=[1, 2]), 7, "eos_token_id is [1, 2]; it must be a whole number"),
        (put(SPECIAL, eos_token=None), 7, "eos_token is null; it must be text or an object"),
        (put("tokenizer/tokenizer.json", model={}), 7, "has a model that Transformers does not"),
        (put("tokenizer/tokenizer.json", pre_tokenizer="x"), 7, "has a pre_tokenizer that"),
    ],
    ids=lambda value: value.name if isinstance(value, Case) else None,
)
def test_the_error_of_a_folder(
    run_cli: Any, model: Path, case: Case, code: int, message: str
) -> None:
    case.damage(model)
    ran = run_cli("generate", "a cat", "-m", str(model), *SETTINGS)
    assert (ran.code, ran.stderr.count("sdcli: error: ")) == (code, 1)
    assert message in ran.stderr


@pytest.mark.parametrize(
    ("name", "count"), [("T5Tokenizer", 1), ("CLIPTokenizer", 0), ("CLIPTokenizerFast", 0)]
)
def test_a_tokenizer_s_own_file_that_names_another_class_is_told(
    model: Path, name: str, count: int
) -> None:
    put("tokenizer/tokenizer_config.json", tokenizer_class=name).damage(model)
    notes = [note for note in find_notes(model) if note.startswith("tokenizer: ")]
    assert len(notes) == count
    assert all(f"its own file {name}; CLIPTokenizer is used" in note for note in notes)


def test_the_fast_name_of_the_tokenizer_is_accepted(model: Path) -> None:
    put(INDEX, tokenizer=["transformers", "CLIPTokenizerFast"]).damage(model)
    assert check_pipeline(model) == "StableDiffusionPipeline"


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("_attn_implementation", "org/kernel"),
        ("attn_implementation", "org/kernel"),
        ("auto_map", {"AutoModel": "org/repo--evil.Model"}),
        ("transformers_weights", "../unet/diffusion_pytorch_model.safetensors"),
    ],
)
def test_keys_that_would_fetch_code_or_files_are_ignored_and_named(
    model: Path, loaded_pixels: Callable[[Path], Any], key: str, value: object
) -> None:
    expected, _ = loaded_pixels(EMBEDDED_FOLDER)
    put(TEXT, **{key: value}).damage(model)
    pixels, notes = loaded_pixels(model)
    assert np.array_equal(pixels, expected)
    assert any(key in note and "ignored" in note for note in notes)


@pytest.fixture
def loaded_pixels() -> Callable[[Path], Any]:
    """A function that loads a model and draws with it: the pixels and the notes."""

    def draw(folder: Path) -> Any:
        spec = PipelineSpec(model=str(folder), device="cpu", dtype="float32")
        loaded = engine.load(spec)
        scheduler = read_defaults(folder).scheduler_class
        job = make_job(spec=spec, scheduler=SchedulerConfig(class_name=scheduler))
        [result] = engine.generate_batch(loaded, [job])
        return result.pixels, loaded.notes

    return draw


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    "case",
    [
        put("model_index.json", scheduler=["diffusers", "EulerDiscreteScheduler"]),
        put("scheduler/scheduler_config.json", _class_name="EulerDiscreteScheduler"),
        put("scheduler/scheduler_config.json", _class_name="PNDMScheduler", skip_prk_steps=True),
        put(TEXT, architectures=["CLIPTextModelWithProjection"]),
        put(UNET, _class_name="UNet3DConditionModel"),
        put("vae/config.json", _class_name="AutoencoderTiny"),
    ],
    ids=lambda case: case.name,
)
def test_the_index_counts_where_a_component_s_own_file_disagrees(
    model: Path, loaded_pixels: Callable[[Path], Any], case: Case
) -> None:
    before = fingerprint(PipelineSpec(model=str(model)))
    case.damage(model)
    other = Path(shutil.copytree(model, model.parent / "other"))
    plain = StableDiffusionPipeline.from_pretrained(
        model, dtype=torch.float32, safety_checker=None, requires_safety_checker=False
    )
    plain.set_progress_bar_config(disable=True)
    expected = plain(
        "a cat and a guitar on a blue background", height=64, width=64, num_inference_steps=4,
        guidance_scale=3.0, generator=torch.Generator("cpu").manual_seed(7), output_type="np",
    ).images[0]  # fmt: skip
    pixels, notes = loaded_pixels(model)
    assert np.array_equal(pixels, (expected * 255).round().astype(np.uint8))
    [note] = [note for note in notes if "model_index.json names" in note]
    component = case.name.split("/")[0] if "/" in case.name else "scheduler"
    assert note.startswith(f"{component}: ")
    assert note.endswith("is used, as in Diffusers")
    assert fingerprint(PipelineSpec(model=str(other))) != before


def test_a_tokenizer_without_a_length_takes_the_text_encoder_s(
    model: Path, loaded_pixels: Callable[[Path], Any]
) -> None:
    expected, notes = loaded_pixels(EMBEDDED_FOLDER)
    assert notes == ()
    drop("tokenizer/tokenizer_config.json", "model_max_length").damage(model)
    pixels, notes = loaded_pixels(model)
    assert np.array_equal(pixels, expected)
    assert "77 tokens" in notes[0]


@pytest.mark.parametrize("has_defaults", [True, False])
def test_an_inpainting_unet_is_known_whatever_the_defaults_say(
    model: Path, has_defaults: bool
) -> None:
    put(UNET, in_channels=9).damage(model)
    if not has_defaults:
        (model / "sdcli.json").unlink()
    assert read_defaults(model).is_inpainting


def test_infinity_is_read_where_diffusers_writes_it(model: Path) -> None:
    path = model / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "lambda_min_clipped": -np.inf}))
    assert read_defaults(model).scheduler_class == "DPMSolverMultistepScheduler"


@pytest.mark.sample(3)
@pytest.mark.parametrize(
    ("name", "entry", "is_named"),
    [
        ("unett", ["diffusers", "UNet2DConditionModel"], True),
        ("controlnet", ["diffusers", "ControlNetModel"], True),
        ("force_zeros", True, True),
        ("prior", [None, None], False),
        ("safety_checker", ["stable_diffusion", "StableDiffusionSafetyChecker"], False),
        ("image_encoder", [None, None], False),
        ("requires_safety_checker", True, False),
        ("_name_or_path", "x", False),
    ],
)
def test_an_entry_of_the_index_without_effect_is_named_once(
    run_cli: Any, model: Path, name: str, entry: object, is_named: bool
) -> None:
    put("model_index.json", **{name: entry}).damage(model)
    ran = run_cli("generate", "a cat", "a dog", "-m", str(model), *SETTINGS, "-o", "out")
    assert (ran.code, ran.stderr.count(f'"{name}" is ignored')) == (0, int(is_named))


def test_a_panic_of_a_library_in_rust_is_one_line(
    run_cli: Any, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Damaged files that make the tokenizer panic are found now and then, and get fixed."""
    # The class is a BaseException, and only the library itself can raise it.
    panic = type("PanicException", (BaseException,), {})

    def fail(*_: object, **__: object) -> None:
        raise panic("called `Option::unwrap()` on a `None` value")

    monkeypatch.setattr("transformers.CLIPTokenizer.from_pretrained", fail)
    ran = run_cli("generate", "a cat", "-m", str(model), *SETTINGS)
    assert (ran.code, ran.stderr.count("sdcli: error: ")) == (7, 1)
    assert f"tokenizer: {model}/tokenizer: Transformers cannot load it: called" in ran.stderr
