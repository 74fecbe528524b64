"""Hostile model folders, made from the embedded model: damaged on purpose, or at random by a seed.

`python -m tests.fuzz.model_folders [SEED [COUNT]]` runs them all; a failure prints the case's name,
which with the seed is enough to make the folder again.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.cli import main

ALLOWED: Final = {0, 2, 3, 6, 7, 8}
"""Exit codes that a model's files may cause."""

SETTINGS: Final = ("--steps", "1", "--size", "64x64", "--seed", "1", "--device", "cpu")
UNET, TEXT = "unet/config.json", "text_encoder/config.json"
VAE, SCHEDULER = "vae/config.json", "scheduler/scheduler_config.json"
TOKENIZER, INDEX = "tokenizer/tokenizer_config.json", "model_index.json"
CONFIGS: Final = (INDEX, UNET, VAE, TEXT, SCHEDULER, TOKENIZER, "sdcli.json")
WEIGHTS: Final = "unet/diffusion_pytorch_model.safetensors"
DEEP: Final = '{"a":' * 100_000 + "1" + "}" * 100_000
VALUES: Final = (
    None, True, False, 0, 1, -1, 3, 1.5, 10**9, 2**63, 10**30, float("nan"), float("inf"),
    "", "x", "../../x", "/etc/passwd", "os", "\x1b[31m\u202e\n", [], {}, [1], [[1]], [None],
    ["diffusers", "x"], ["os", "system"], {"a": 1}, {"repo": "org/kernel"}, [1] * 50,
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A way to damage a copy of the embedded model's folder."""

    name: str
    damage: Callable[[Path], None]


def put(file: str, **values: Any) -> Case:
    """A case that sets keys of a JSON file."""

    def damage(folder: Path) -> None:
        path = folder / file
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))

    shown = ", ".join(f"{key}={json.dumps(value)[:40]}" for key, value in values.items())
    return Case(f"{file}: {shown}", damage)


def drop(file: str, *keys: str) -> Case:
    """A case that leaves keys of a JSON file out."""

    def damage(folder: Path) -> None:
        data = json.loads((folder / file).read_text())
        (folder / file).write_text(json.dumps({k: v for k, v in data.items() if k not in keys}))

    return Case(f"{file}: without {', '.join(keys)}", damage)


def write(file: str, content: str | bytes, label: str) -> Case:
    """A case that replaces a file."""

    def damage(folder: Path) -> None:
        path = folder / file
        path.unlink(missing_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return Case(f"{file}: {label}", damage)


def replace(file: str, make: Callable[[Path], object], label: str) -> Case:
    """A case that puts something other than a file in the place of one."""

    def damage(folder: Path) -> None:
        (folder / file).unlink(missing_ok=True)
        make(folder / file)

    return Case(f"{file}: {label}", damage)


def _nest_tokenizer(folder: Path) -> None:
    path = folder / "tokenizer" / "tokenizer.json"
    text = path.read_text().rstrip()
    depth = 100_000
    normalizer = '{"type":"Sequence","normalizers":[' * depth + "]}" * depth
    path.write_text(f'{text[:-1]}, "normalizer": {normalizer}}}')


PICKED: Final = (
    put(UNET, sample_size={}),
    put(UNET, sample_size=[16]),
    put(UNET, sample_size=10**9),
    put(UNET, sample_size="16"),
    put(UNET, block_out_channels=None),
    put(UNET, block_out_channels=[10**9] * 3),
    put(UNET, block_out_channels=[1213] * 3),
    put(UNET, layers_per_block=10**9),
    put(UNET, layers_per_block=200),
    put(UNET, norm_num_groups=0),
    put(UNET, norm_num_groups=7),
    put(UNET, norm_eps="x"),
    put(UNET, downsample_padding=7),
    put(UNET, freq_shift=32),
    put(UNET, flip_sin_to_cos=[]),
    put(UNET, in_channels=9),
    put(UNET, out_channels=8),
    put(UNET, cross_attention_dim=768),
    put(UNET, attention_head_dim=5),
    put(UNET, addition_embed_type="text_time"),
    put(UNET, num_class_embeds=10),
    put(UNET, encoder_hid_dim_type="image_proj"),
    put(UNET, time_cond_proj_dim=64),
    put(UNET, down_block_types=["os.system"] * 3),
    put(UNET, _class_name=["unet.py", "Evil"]),
    put(UNET, _diffusers_version={}),
    put(UNET, _diffusers_version="not a version"),
    put(UNET, _use_default_values=["block_out_channels"]),
    put(UNET, quantization_config={"quant_method": "bitsandbytes", "load_in_8bit": True}),
    put(UNET, quantization_config="x"),
    put(UNET, auto_map={"AutoModel": "evil.Model"}),
    put(VAE, block_out_channels=None),
    put(VAE, block_out_channels=[]),
    put(VAE, scaling_factor="x"),
    put(VAE, scaling_factor=0),
    put(VAE, scaling_factor=float("nan")),
    put(VAE, latent_channels="4"),
    put(VAE, _class_name="AutoencoderTiny"),
    put(VAE, norm_num_groups=0),
    put(TEXT, _attn_implementation="org/kernel"),
    put(TEXT, attn_implementation="kernels-community/flash-attn"),
    put(TEXT, quantization_config={"quant_method": "gptq"}),
    put(TEXT, auto_map={"AutoModel": "org/repo--evil.Model"}, trust_remote_code=True),
    put(TEXT, transformers_weights="../unet/diffusion_pytorch_model.safetensors"),
    put(TEXT, num_hidden_layers=10**9),
    put(TEXT, num_hidden_layers=200),
    put(TEXT, num_attention_heads=0),
    put(TEXT, hidden_act="os.system"),
    put(TEXT, vocab_size=10),
    put(TEXT, max_position_embeddings=10**9),
    put(TEXT, layer_norm_eps={}),
    put(TEXT, text_config={"num_hidden_layers": {}}),
    put(TEXT, eos_token_id="x"),
    put(TEXT, eos_token_id=[1, 2]),
    put(TEXT, dtype="os.system", torch_dtype="evil"),
    put(TEXT, architectures=["CLIPTextModelWithProjection"]),
    put(SCHEDULER, num_train_timesteps=10**12),
    put(SCHEDULER, num_train_timesteps="x"),
    put(SCHEDULER, beta_start="x"),
    put(SCHEDULER, beta_schedule="os"),
    put(SCHEDULER, trained_betas={}),
    put(SCHEDULER, prediction_type=[]),
    put(SCHEDULER, _class_name="os"),
    put(SCHEDULER, steps_offset={}),
    put(SCHEDULER, clip_sample=None),
    put(TOKENIZER, model_max_length=1e9),
    put(TOKENIZER, model_max_length=0),
    put(TOKENIZER, model_max_length="x"),
    put(TOKENIZER, tokenizer_file="/etc/passwd", vocab_file="../../../x"),
    put(TOKENIZER, auto_map={"AutoTokenizer": ["evil.T", None]}),
    put(TOKENIZER, bos_token={}),
    put(TOKENIZER, eos_token=None),
    put(TOKENIZER, added_tokens_decoder={"x": 1}),
    put(TOKENIZER, added_tokens_decoder={"99999999": {"content": "a", "special": True}}),
    put(TOKENIZER, extra_special_tokens={"save_pretrained": "x"}),
    put("tokenizer/special_tokens_map.json", bos_token=[], pad_token=3),
    put("tokenizer/tokenizer.json", model={}),
    put("tokenizer/tokenizer.json", added_tokens=[{"id": 10**9, "content": "a"}]),
    put("tokenizer/tokenizer.json", post_processor=None, truncation={"max_length": -1}),
    put("tokenizer/tokenizer.json", normalizer={"type": "Replace", "pattern": {"Regex": "("}}),
    drop(TOKENIZER, "model_max_length"),
    drop(SCHEDULER, "_class_name"),
    drop(VAE, "_class_name"),
    drop(INDEX, "_class_name"),
    drop(INDEX, "unet", "vae", "scheduler", "text_encoder", "tokenizer"),
    put(INDEX, unet=["unet_evil", "Evil"]),
    put(INDEX, unet=["diffusers", "UNet3DConditionModel"]),
    put(INDEX, scheduler=["diffusers", "pipelines"]),
    put(INDEX, scheduler=["diffusers", "EulerDiscreteScheduler"]),
    put(INDEX, scheduler={}),
    put(INDEX, text_encoder=["transformers", "CLIPTextModelWithProjection"]),
    put(INDEX, text_encoder=[None, None]),
    put(INDEX, vae=["diffusers", "AutoencoderTiny"]),
    put(INDEX, vae=["diffusers", ["AutoencoderKL"]]),
    put(INDEX, **{"../../outside": ["diffusers", "X"], "/etc": ["diffusers", "X"]}),
    put(INDEX, **{"a\0b": ["diffusers", "X"]}),
    put(INDEX, _class_name=["pipeline.py", "Evil"]),
    put("sdcli.json", num_inference_steps=10**400),
    put("sdcli.json", num_inference_steps=True),
    put("sdcli.json", guidance_scale=float("inf")),
    put("sdcli.json", width=-8),
    put("sdcli.json", words=[{}, 1]),
    put("sdcli.json", scheduler="os.system"),
    put("sdcli.json", latent_rgb_factors={"a": 1}),
    *(write(file, DEEP, "100,000 levels deep") for file in (*CONFIGS, "tokenizer/vocab.json")),
    Case("tokenizer/tokenizer.json: 100,000 levels deep", _nest_tokenizer),
    write(UNET, "[" * 100_000, "open brackets"),
    write(UNET, '{"in_channels": ' + "9" * 5000 + "}", "5000 digits"),
    write(UNET, b"\xff\xfe{}", "UTF-16"),
    write(UNET, b"\xef\xbb\xbf{}", "a byte order mark"),
    write(UNET, "", "empty"),
    write(TOKENIZER, "[]", "a list"),
    write("tokenizer/vocab.json", '{"a": -1, "b": 1e99}', "numbers"),
    write("tokenizer/merges.txt", b"\xff\0\n" * 100, "bytes"),
    write("tokenizer/added_tokens.json", '{"a": 4294967296}', "a large number"),
    write("unet/diffusion_pytorch_model.safetensors.index.json", DEEP, "100,000 levels deep"),
    write("unet/diffusion_pytorch_model.safetensors.index.json", "{}", "empty"),
    write("text_encoder/adapter_config.json", '{"auto_mapping": "evil"}', "an adapter"),
    write("text_encoder/generation_config.json", "[", "broken"),
    write(WEIGHTS, b'\x10\0\0\0\0\0\0\0{"a":[[[[[[[[[[[[', "an unfinished header"),
    write(WEIGHTS, b"\xff" * 64, "ones"),
    write(WEIGHTS, (200_000).to_bytes(8, "little") + b"[" * 200_000, "a deep header"),
    *(replace(f, os.mkfifo, "a pipe") for f in (UNET, INDEX, WEIGHTS, TOKENIZER, "sdcli.json")),
    replace("tokenizer/tokenizer.json", os.mkfifo, "a pipe"),
    replace("scheduler/extra.json", os.mkfifo, "a pipe"),
    replace(UNET, Path.mkdir, "a folder"),
    replace(WEIGHTS, Path.mkdir, "a folder"),
    replace(VAE, lambda path: path.symlink_to("/dev/zero"), "a link to a device"),
    replace(UNET, lambda path: path.symlink_to("/etc/passwd"), "a link out of the folder"),
    replace(UNET, lambda path: path.symlink_to(path.name), "a link to itself"),
    replace(WEIGHTS, lambda path: path.symlink_to("nowhere"), "a link to nothing"),
)


def cases(seed: int, count: int) -> Iterator[Case]:
    """Yield the picked cases, then random changes of one key, `count` in all at most."""
    yield from PICKED[:count]
    source = random.Random(seed)
    keys = [
        (file, key)
        for file in (*CONFIGS, "tokenizer/special_tokens_map.json", "tokenizer/tokenizer.json")
        for key in json.loads((EMBEDDED_FOLDER / file).read_text())
    ]
    for _ in range(count - len(PICKED)):
        file, key = source.choice(keys)
        yield put(file, **{key: source.choice(VALUES)})


def run(case: Case) -> list[str]:
    """Run `generate` and `inspect` on the folder of a case; return what is wrong with them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "model"
        _copy_model(folder)
        case.damage(folder)
        generate = ["generate", "a cat", "--model", str(folder), *SETTINGS, "-o", f"{name}/1.png"]
        return [fault for argv in (generate, ["inspect", str(folder)]) if (fault := _fault(argv))]


def check(case: Case) -> None:
    """Run a case. Raises AssertionError with what is wrong."""
    faults = run(case)
    assert not faults, faults


def _copy_model(folder: Path) -> None:
    """Copy the embedded model, with links in place of its weights."""

    def copy(source: str, target: str) -> None:
        if source.endswith(".safetensors"):
            os.symlink(source, target)
        else:
            shutil.copyfile(source, target)

    shutil.copytree(EMBEDDED_FOLDER, folder, copy_function=copy)


def _fault(argv: list[str]) -> str:
    """Run a command; return what breaks the promises of the command line, "" for nothing."""
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(argv)
    except BaseException:  # any of them would be a traceback
        return f"{argv[0]}: {traceback.format_exc()}"
    errors = [line for line in err.getvalue().splitlines() if line.startswith("sdcli: error: ")]
    if code not in ALLOWED or len(errors) != (code != 0) or "Traceback" in err.getvalue():
        return f"{argv[0]}: exit {code}: {err.getvalue()}"
    if any(char in err.getvalue() for char in "\x1b\u202e"):
        return f"{argv[0]}: raw: {err.getvalue()!r}"
    return ""


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:]]
    seed, count = [*numbers, *(0, 1000)[len(numbers) :]]
    failures = 0
    for case in cases(seed, count):
        for fault in run(case):
            failures += 1
            print(f"{case.name}\n  {fault}", flush=True)
    print(f"model folders: seed {seed}, {count} cases, {failures} failures")
    sys.exit(bool(failures))
