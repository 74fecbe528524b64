"""Wrong and damaged files of weights in every place of the command line that takes one.

Each ends in its exit code, with one sentence that names the file, and a hint.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline

from sdcli.checkpoints.file_hashes import sha256
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from tests.checkpoints.model_files import pack, pack_zeros
from tests.checkpoints.single_file.original_layout import State, checkpoint, ema_twins, save
from tests.checkpoints.single_file.test_true_sizes import meta_models, write_sparse
from tests.checkpoints.single_file.tiny_models import tensors
from tests.conftest import Ran, RunCli
from tests.xl_models import write_xl_model

pytestmark = pytest.mark.usefixtures("no_sockets")

CONFIG = ("--model-config", str(EMBEDDED_FOLDER))
QUICK = ("--steps", "1", "--seed", "7", "--size", "32x32", "--device", "cpu", "-o", "a.png")

ROLES: dict[str, tuple[str, ...]] = {
    "model": (*CONFIG, "-m"),
    "refiner": ("-m", "xl", "--refiner-config", str(EMBEDDED_FOLDER), "--refiner"),
    "vae": ("--vae",),
    "text encoder": ("--text-encoder",),
    "LoRA": ("--lora",),
}
"""What a file is given as -> the arguments before it."""

UNET, TEXT = "model.diffusion_model.", "cond_stage_model.transformer.text_model."
CONV_IN = f"{UNET}input_blocks.0.0.weight"
NORM = f"{TEXT}final_layer_norm.weight"
VAE_IN = "first_stage_model.decoder.conv_in.weight"
VAE_NORM = "first_stage_model.decoder.norm_out.weight"
AGAIN = "download the file again"


@pytest.fixture(scope="module")
def state() -> Mapping[str, torch.Tensor]:
    """The tensors of the embedded model under the original names."""
    pipeline = StableDiffusionPipeline.from_pretrained(
        EMBEDDED_FOLDER, dtype=torch.float32, safety_checker=None, requires_safety_checker=False
    )
    return checkpoint(pipeline.components)


@pytest.fixture(scope="module")
def whole(state: Mapping[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return save(dict(state), tmp_path_factory.mktemp("whole") / "a.safetensors").read_bytes()


@pytest.fixture(autouse=True)
def _refined_model(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    if "refiner" in request.node.name:
        write_xl_model(tmp_path / "xl")


def give(run_cli: RunCli, role: str, file: str, *arguments: str) -> Ran:
    """Draw with a file that cannot be used, and check the form of the refusal."""
    ran = run_cli("generate", "a cat", *ROLES[role], file, *QUICK, *arguments)
    assert ran.code in (3, 6, 7), (role, ran.stderr)
    assert ran.stdout == ""
    assert ran.stderr.count("sdcli: error: ") == ran.stderr.count("sdcli: hint: ") == 1, ran.stderr
    assert file in ran.stderr
    assert not re.search(r"Traceback|Error:|torch\.Size|low_cpu_mem", ran.stderr), ran.stderr
    assert not Path("a.png").exists()
    return ran


NO_WEIGHTS: dict[str, tuple[bytes, str, str]] = {
    "empty": (b"", "is empty", AGAIN),
    "HTML": (b"<!DOCTYPE html><html>", "an HTML or XML page", "login"),
    "LFS pointer": (b"version https://git-lfs.github.com/spec/v1\n", "LFS", "git lfs pull"),
    "JSON": (b'{"error": "Access denied"}', "is JSON text", AGAIN),
    "zip": (b"PK\x03\x04" + bytes(60), "a zip archive", "sdcli models convert"),
    "pickle": (b"\x80\x02}q\x00(X\x05\x00\x00", "a Python pickle", "sdcli models convert"),
    "gzip": (b"\x1f\x8b\x08" + bytes(60), "compressed by gzip", "unpack it"),
    "image": (b"\x89PNG\r\n\x1a\n" + bytes(60), "is an image", AGAIN),
    "GGUF": (b"GGUF\x03\x00\x00\x00", "a GGUF file", "use a .safetensors file"),
    "text": (b"hello, world", "no safetensors header", AGAIN),
    "zeros": (bytes(600), "no safetensors header", AGAIN),
    "no tensors": (pack({}, b""), "contains no tensors", AGAIN),
    "long header": (struct.pack("<Q", 1 << 40) + b"{}", "no safetensors header", AGAIN),
    "deep header": (struct.pack("<Q", 99_999) + b"[" * 99_999, "no readable", AGAIN),
}


@pytest.mark.sample(30)
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("case", NO_WEIGHTS.values(), ids=list(NO_WEIGHTS))
def test_what_is_no_file_of_weights_is_named(run_cli: RunCli, case: Any, role: str) -> None:
    data, message, hint = case
    Path("a.safetensors").write_bytes(data)
    ran = give(run_cli, role, "a.safetensors")
    assert ran.code == 7
    assert message in ran.stderr
    assert hint in ran.stderr


@pytest.mark.sample(2)
@pytest.mark.parametrize("role", ROLES)
def test_truncated_files_are_corrupt(run_cli: RunCli, whole: bytes, role: str) -> None:
    header = int.from_bytes(whole[:8], "little") + 8
    places = [0, 1, 4, 7, 8, 9, 100, header - 1, header, header + 1]
    places += [header + (len(whole) - header) * n // 10 for n in range(1, 10)] + [len(whole) - 1]
    assert len(places) == 20
    for place in places:
        Path("cut.safetensors").write_bytes(whole[:place])
        ran = give(run_cli, role, "cut.safetensors")
        assert ran.code == 7, (place, ran.stderr)
        assert AGAIN in ran.stderr


@pytest.mark.sample(2)
@pytest.mark.parametrize("role", ["model", "vae", "text encoder"])
def test_flipped_bytes_of_the_header_are_named(run_cli: RunCli, whole: bytes, role: str) -> None:
    header = int.from_bytes(whole[:8], "little")
    places = range(8, header, header // (20 if role == "model" else 6))
    for place in [0, 1, 2, 3, 7, *places]:
        flipped = bytearray(whole)
        flipped[place] ^= 0x55
        Path("flipped.safetensors").write_bytes(flipped)
        ran = run_cli("generate", "a cat", *ROLES[role], "flipped.safetensors", *QUICK)
        # Otherwise it would be made again after the tests, from another file of that name.
        Path("a.png").unlink(missing_ok=True)
        # Only the name of a tensor that is not used, and the metadata, may be other letters.
        is_unused = "ignored" in ran.stderr or role != "model"
        assert ran.code in (3, 7) or (ran.code == 0 and is_unused), (place, ran.stderr)
        assert ran.stderr.count("sdcli: error: ") == (ran.code != 0), ran.stderr


def test_flipped_bytes_of_the_data_are_found_by_the_hash(run_cli: RunCli, whole: bytes) -> None:
    Path("a.safetensors").write_bytes(whole)
    digest = sha256(Path("a.safetensors"))
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0x80
    Path("b.safetensors").write_bytes(flipped)
    for name, code in (("a.safetensors", 0), ("b.safetensors", 7)):
        assert run_cli("models", "verify", name, "--sha256", digest).code == code


Change = Callable[[State], State]


def without(*beginnings: str) -> Change:
    return lambda state: {k: t for k, t in state.items() if not k.startswith(beginnings)}


def only(*beginnings: str) -> Change:
    return lambda state: {k: t for k, t in state.items() if k.startswith(beginnings)}


def altered(name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Change:
    return lambda state: state | {name: change(state[name].clone())}


def stored_as(dtype: torch.dtype) -> Change:
    return lambda s: {k: t.to(dtype) if t.is_floating_point() else t for k, t in s.items()}


def broadcast_nan(tensor: torch.Tensor) -> torch.Tensor:
    return tensor * float("nan")


QUANTIZED = "no quantized weights: use the file in float16 or float32"
CHANGED: dict[str, tuple[Change, str, int, str, str]] = {
    "int8": (stored_as(torch.int8), "model", 3, "holds I8", QUANTIZED),
    "uint8": (stored_as(torch.uint8), "model", 3, "holds U8", QUANTIZED),
    "bool": (stored_as(torch.bool), "model", 3, "holds BOOL", QUANTIZED),
    "complex": (stored_as(torch.complex64), "model", 3, "holds C64", QUANTIZED),
    "int8 VAE": (stored_as(torch.int8), "vae", 3, "holds I8", QUANTIZED),
    "int8 encoder": (stored_as(torch.int8), "text encoder", 3, "holds I8", QUANTIZED),
    "one int8": (altered(CONV_IN, lambda t: t.to(torch.int8)), "model", 3, CONV_IN, QUANTIZED),
    "scales": (lambda s: {**s, f"{UNET}out.2.scale_weight": torch.ones(1)}, "model", 3,
               "a file of quantized weights", "use a checkpoint"),
    "missing": (without(CONV_IN), "model", 7, f"unet: a.safetensors lacks {CONV_IN}", AGAIN),
    "missing text": (without(NORM), "model", 7, f"lacks {NORM}", AGAIN),
    "missing in VAE": (without(VAE_NORM), "model", 7, f"lacks {VAE_NORM}", AGAIN),
    "missing in --vae": (without(VAE_NORM), "vae", 7, f"lacks {VAE_NORM}", AGAIN),
    "size of --vae": (without(VAE_IN), "vae", 7, f"lacks {VAE_IN}", AGAIN),
    "missing encoder": (without(NORM), "text encoder", 7, f"lacks {NORM}", AGAIN),
    "shape": (altered(CONV_IN, lambda t: t[:, :-1]), "model", 7,
              "has the shape (64, 3, 3, 3), but the model needs (64, 4, 3, 3)", "--model-config"),
    "flat": (altered(CONV_IN, torch.flatten), "model", 7, "has the shape (2304,)",
             "--model-config"),
    "shape of VAE": (altered(VAE_NORM, lambda t: t[:-1]), "vae", 7, "the model needs (16,)", AGAIN),
    "flat VAE": (altered(VAE_IN, torch.flatten), "vae", 7, "a convolution has 4 sides", AGAIN),
    "shape of encoder": (altered(NORM, lambda t: t[:-1]), "text encoder", 7,
                         "has the shape (127,), but the model needs (128,)", AGAIN),
    "NaN": (altered(CONV_IN, broadcast_nan), "model", 7, f"{CONV_IN} has NaN", AGAIN),
    "NaN in text": (altered(NORM, broadcast_nan), "model", 7, f"{NORM} has NaN", AGAIN),
    "NaN in VAE": (altered(VAE_NORM, broadcast_nan), "vae", 7, f"{VAE_NORM} has NaN",
                   ".latents.safetensors --vae NAME"),
    "EMA only": (lambda s: without(UNET)(s) | ema_twins(s), "model", 3, "EMA weights only",
                 "plain weights"),
    "VAE as model": (only("first_stage_model."), "model", 3, "is a VAE, not a model", "--vae"),
    "VAE as refiner": (only("first_stage_model."), "refiner", 3, "is a VAE", "--vae"),
    "VAE as encoder": (only("first_stage_model."), "text encoder", 3, "no CLIP text", "OpenCLIP"),
    "VAE as LoRA": (only("first_stage_model."), "LoRA", 3, "changes nothing", "sdcli inspect"),
    "encoder as model": (only(TEXT), "model", 3, "is a text encoder, not a model", "checkpoint"),
    "encoder as VAE": (only(TEXT), "vae", 3, "is a text encoder, not a VAE", "sdcli vae list"),
    "UNet as VAE": (only(UNET), "vae", 3, "is a model without a VAE", "sdcli vae list"),
    "model as refiner": (dict, "refiner", 3, "must be a Stable Diffusion XL model", "--refiner"),
    "model as LoRA": (dict, "LoRA", 3, "changes nothing in embedded", "sdcli inspect FILE"),
}  # fmt: skip
"""A change of a good file, what it is given as, the exit code, the message and the hint."""


@pytest.mark.sample(10)
@pytest.mark.parametrize("case", CHANGED.values(), ids=list(CHANGED))
def test_changed_files(run_cli: RunCli, state: State, case: Any) -> None:
    change, role, code, message, hint = case
    save(change(dict(state)), Path("a.safetensors"))
    ran = give(run_cli, role, "a.safetensors")
    assert (ran.code, message in ran.stderr, hint in ran.stderr) == (code, True, True), ran.stderr


OTHERS: dict[str, tuple[dict[str, tuple[int, ...]], str]] = {
    "LoRA": ({"lora_unet_mid_block.lora_down.weight": (4, 8)}, "is a LoRA"),
    "ControlNet": ({"control_model.input_blocks.0.0.weight": (8, 4, 3, 3)}, "is a ControlNet"),
    "embedding": ({"emb_params": (4, 768)}, "is a textual inversion embedding"),
    "FLUX": ({"double_blocks.0.img_attn.qkv.weight": (8, 8)}, "is a FLUX model"),
}


@pytest.mark.parametrize("role", ["model", "refiner", "vae", "text encoder"])
@pytest.mark.parametrize("case", OTHERS.values(), ids=list(OTHERS))
def test_other_kinds_of_files_are_named_in_every_place(
    run_cli: RunCli, case: Any, role: str
) -> None:
    shapes, message = case
    Path("a.safetensors").write_bytes(pack_zeros(shapes, {}))
    ran = give(run_cli, role, "a.safetensors")
    noun = {"vae": "a VAE", "text encoder": "a text encoder"}.get(role, "a model")
    assert (ran.code, f"{message}, not {noun}" in ran.stderr) == (3, True), ran.stderr


DEPTH = {
    CONV_IN: (320, 5, 3, 3),
    f"{UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (1, 1024),
}


@pytest.mark.parametrize(
    ("shapes", "message", "hint"),
    [
        (DEPTH, "Stable Diffusion 2 depth-to-image", "text-to-image or inpainting"),
        ({"x": (2, 3)}, "not a Stable Diffusion model", "checkpoint"),
        ({CONV_IN: (64, 4, 3, 3)}, "not a model of a known family", "--model-config FOLDER"),
    ],
)
def test_models_that_cannot_run(run_cli: RunCli, shapes: Any, message: str, hint: str) -> None:
    Path("a.safetensors").write_bytes(pack_zeros(shapes, {}))
    Path("prompts.txt").write_text("a cat")
    for command in (("generate", "a cat"), ("batch", "prompts.txt", "--dry-run")):
        ran = run_cli(*command, "-m", "a.safetensors")
        assert (ran.code, message in ran.stderr, hint in ran.stderr) == (3, True, True), ran.stderr


@pytest.mark.sample(3)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-m", "sdxl-refiner"), "a refiner, which only continues what another model began"),
        (("-m", "sdxl", "--refiner", "sd1"), "must be a Stable Diffusion XL model"),
        (("-m", "sd1", "--refiner", "sdxl-refiner"), "only Stable Diffusion XL takes a refiner"),
        (("-m", "sd1", "--vae", "sdxl"), "its scaling factor is 0.13025"),
        (("-m", "sdxl", "--vae", "sd1"), "its scaling factor is 0.18215"),
        (("-m", "sd2", "--text-encoder", "sd1"), "768 wide, but the text encoder of sd2.safet"),
    ],
)
def test_true_models_in_the_wrong_place(
    run_cli: RunCli, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    names = [name for name in arguments if not name.startswith("-")]
    # The name tells nothing: the VAE of a whole model is that of its family.
    for family in names:
        write_sparse(tensors(family, meta_models(family)), tmp_path / f"{family}.safetensors")
    Path("prompts.txt").write_text("a cat")
    files = [f"{name}.safetensors" if name in names else name for name in arguments]
    ran = run_cli("batch", "prompts.txt", "--dry-run", *files)
    assert (ran.code, message in ran.stderr) == (3, True), ran.stderr


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.float64])
def test_other_floating_point_numbers_draw(
    run_cli: RunCli, state: State, dtype: torch.dtype
) -> None:
    name = f"{str(dtype).removeprefix('torch.')}.safetensors"
    save(stored_as(dtype)(dict(state)), Path(name))
    ran = run_cli("generate", "a cat", *ROLES["model"], name, *QUICK, "--json")
    assert (ran.code, len(json.loads(ran.stdout)["images"])) == (0, 1), ran.stderr


def test_a_pickle_is_refused_with_the_command_that_converts_it(run_cli: RunCli) -> None:
    Path("my model.ckpt").write_bytes(b"\x80\x02")
    for role in ("model", "vae", "text encoder", "LoRA"):
        ran = give(run_cli, role, "my model.ckpt")
        assert ran.code == 6
        assert "sdcli models convert 'my model.ckpt' 'my model.safetensors'" in ran.stderr
