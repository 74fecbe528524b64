"""Folders of Stable Diffusion XL: shards, variants, and models whose parts do not fit."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdcli import engine
from sdcli.errors import CorruptError, ModelError, SdcliError, UnsafeError
from tests.engine.xl.conftest import load
from tests.engine.xl.hand_calls import xl_job

Change = Callable[[Path], None]


def edit(file: str, **changes: Any) -> Change:
    def apply(folder: Path) -> None:
        path = folder / file
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return apply


def draw(loaded: Any) -> np.ndarray:
    [result] = engine.generate_batch(loaded, [xl_job()])
    pixels: np.ndarray = result.pixels
    return pixels


def test_shards_and_variants_are_loaded(xl: Any, base_folder: Path, tmp_path: Path) -> None:
    sharded = Path(shutil.copytree(base_folder, tmp_path / "sharded"))
    for name, stem in (("unet", "diffusion_pytorch_model"), ("text_encoder_2", "model")):
        (sharded / name / f"{stem}.safetensors").unlink()
        getattr(xl.pipeline, name).save_pretrained(sharded / name, max_shard_size="100KB")
        assert len(list((sharded / name).glob("*-of-*.safetensors"))) > 1
    assert np.array_equal(draw(load(sharded)), draw(xl))
    half = Path(shutil.copytree(base_folder, tmp_path / "half"))
    for name, stem in (
        ("unet", "diffusion_pytorch_model"), ("vae", "diffusion_pytorch_model"),
        ("text_encoder", "model"), ("text_encoder_2", "model"),
    ):  # fmt: skip
        (half / name / f"{stem}.safetensors").rename(half / name / f"{stem}.fp16.safetensors")
    assert np.array_equal(draw(load(half, variant="fp16")), draw(xl))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            edit("unet/config.json", cross_attention_dim=48),
            ModelError,
            r"its UNet takes embeddings 48 wide, but those of its text encoders are 16 \+ 24",
        ),
        (
            edit("unet/config.json", projection_class_embeddings_input_dim=64),
            ModelError,
            r"its UNet takes 64 added numbers, .* gives 24, and 6 sizes of 8 make 24 \+ 6 x 8",
        ),
        (
            edit("unet/config.json", addition_time_embed_dim=None),
            ModelError,
            "its UNet takes 72 added numbers",
        ),
        (
            edit("unet/config.json", addition_embed_type=None),
            ModelError,
            "addition_embed_type null; that of Stable Diffusion XL is text_time",
        ),
        (
            edit("model_index.json", requires_aesthetics_score=True),
            ModelError,
            r"5 sizes of 8 make 24 \+ 5 x 8",
        ),
        (
            edit("model_index.json", force_zeros_for_empty_prompt="yes"),
            CorruptError,
            "it must be true or false",
        ),
        (
            edit("model_index.json", text_encoder=[None, None]),
            ModelError,
            r"text_encoder is \[null, null\]; sdcli needs CLIPTextModel",
        ),
        (
            edit("model_index.json", text_encoder_2=["transformers", "CLIPTextModel"]),
            ModelError,
            "sdcli needs CLIPTextModelWithProjection",
        ),
        (edit("unet/config.json", in_channels=9), CorruptError, "in_channels is 9"),
        (
            edit("text_encoder_2/config.json", projection_dim=40),
            ModelError,
            r"gives 40, and 6 sizes of 8",
        ),
        (
            edit("text_encoder_2/config.json", num_hidden_layers=4),
            CorruptError,
            "num_hidden_layers is 4",
        ),
        (
            edit("tokenizer_2/tokenizer_config.json", model_max_length=40),
            ModelError,
            "its tokenizers make 77 and 40 tokens",
        ),
        (
            lambda folder: shutil.rmtree(folder / "tokenizer_2"),
            ModelError,
            "tokenizer_2: neither tokenizer.json nor",
        ),
        (
            lambda folder: shutil.rmtree(folder / "text_encoder_2"),
            SdcliError,
            "text_encoder_2",
        ),
        (
            lambda folder: (folder / "text_encoder_2" / "model.safetensors").rename(
                folder / "text_encoder_2" / "pytorch_model.bin"
            ),
            UnsafeError,
            "text_encoder_2: .* is a pickle",
        ),
        (
            lambda folder: (folder / "text_encoder_2" / "model.safetensors").write_bytes(b"cut"),
            CorruptError,
            "text_encoder_2: ",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_the_numbers(
    base_folder: Path, tmp_path: Path, change: Change, error: type[SdcliError], message: str
) -> None:
    folder = Path(shutil.copytree(base_folder, tmp_path / "model"))
    change(folder)
    with pytest.raises(error, match=message):
        load(folder)


def test_a_refiner_that_does_not_fit_is_refused(
    base_folder: Path, refiner_folder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(refiner_folder, tmp_path / "refiner"))
    edit("unet/config.json", cross_attention_dim=40)(folder)
    with pytest.raises(ModelError, match="embeddings 40 wide, but those of its text encoder are"):
        load(base_folder, refiner=str(folder))
    other = Path(shutil.copytree(refiner_folder, tmp_path / "v"))
    edit("scheduler/scheduler_config.json", prediction_type="v_prediction")(other)
    with pytest.raises(ModelError, match=r"predicts v_prediction, but .* epsilon"):
        load(base_folder, refiner=str(other))


def test_code_in_the_second_text_encoder_s_files_is_ignored_and_noted(
    xl: Any, base_folder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(base_folder, tmp_path / "model"))
    edit("text_encoder_2/config.json", auto_map={"AutoModel": "evil.Model"})(folder)
    edit("tokenizer_2/tokenizer_config.json", auto_map={"AutoTokenizer": "evil.T"})(folder)
    loaded = load(folder)
    assert [note.partition(":")[0] for note in loaded.notes] == ["text_encoder_2", "tokenizer_2"]
    assert np.array_equal(draw(loaded), draw(xl))
