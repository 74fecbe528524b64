"""Exactly the verified files are loaded, hashed and recorded, in one file or in shards."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.numpy import load_file, save_file

from sdcli import engine
from sdcli.checkpoints.fingerprint import fingerprint
from sdcli.errors import CorruptError, ModelError, SdcliError, UnsafeError
from sdcli.pipeline_spec import PipelineSpec
from tests.checkpoints.shards import STEMS, shard_names, split, write_index
from tests.jobs import make_job

Copy = Callable[[], Path]


def load(folder: Path, **changes: Any) -> Any:
    return engine.load(
        PipelineSpec(**{"model": str(folder), "device": "cpu", "dtype": "float32", **changes})
    )


def draw(loaded: Any) -> Any:
    [result] = engine.generate_batch(loaded, [make_job(spec=loaded.spec)])
    return result


def halve(path: Path, target: Path) -> None:
    """Write the weights in `path` to `target`, each half as large."""
    tensors = {name: value / 2 for name, value in load_file(path).items()}
    save_file(tensors, target, {"format": "pt"})


@pytest.mark.sample(2)
@pytest.mark.parametrize("variant", [None, "fp16"])
@pytest.mark.parametrize("component", STEMS)
def test_shards_draw_the_same_picture(
    model_copy: Copy, loaded: Any, component: str, variant: str | None
) -> None:
    folder = model_copy()
    index = split(folder, component, variant)
    whole, sharded = draw(loaded), draw(load(folder, variant=variant))
    assert np.array_equal(whole.pixels, sharded.pixels)
    # The hash that `sha256sum *.safetensors | sha256sum` prints.
    names = shard_names(STEMS[component], variant)
    digests = [hashlib.sha256((index.parent / name).read_bytes()).hexdigest() for name in names]
    lines = "".join(f"{digest}  {name}\n" for digest, name in zip(digests, names, strict=True))
    expected = {component: hashlib.sha256(lines.encode()).hexdigest()}
    assert sharded.weights == {**whole.weights, **expected}


def test_all_components_in_shards_equal_diffusers(model_copy: Copy, plain: Any) -> None:
    folder = model_copy()
    for component in STEMS:
        split(folder, component)
    theirs = StableDiffusionPipeline.from_pretrained(
        folder, dtype=torch.float32, safety_checker=None, requires_safety_checker=False
    )
    ours = load(folder).pipeline
    for name in STEMS:
        expected, actual = getattr(theirs, name).state_dict(), getattr(ours, name).state_dict()
        assert expected.keys() == actual.keys()
        assert all(torch.equal(expected[key], actual[key]) for key in expected)


@pytest.mark.parametrize("component", STEMS)
def test_of_a_file_and_an_index_the_one_that_the_library_loads_counts(
    model_copy: Copy, component: str
) -> None:
    folder = model_copy()
    split(folder, component, keep=True)
    whole = folder / component / f"{STEMS[component]}.safetensors"
    halve(whole, whole)
    theirs = StableDiffusionPipeline.from_pretrained(
        folder, dtype=torch.float32, safety_checker=None, requires_safety_checker=False
    )
    ours = load(folder)
    expected = getattr(theirs, component).state_dict()
    actual = getattr(ours.pipeline, component).state_dict()
    assert all(torch.equal(expected[key], actual[key]) for key in expected)
    # The record names the file that was loaded: a file alone has its own hash.
    file_hash = hashlib.sha256(whole.read_bytes()).hexdigest()
    assert (ours.hashes.result()[component] == file_hash) == (component == "text_encoder")


class Bomb:
    def __reduce__(self) -> Any:
        return exec, ("raise SystemExit('a pickle was opened')",)


@pytest.mark.parametrize("component", ["unet", "vae"])
def test_an_index_that_points_to_a_pickle_is_refused(model_copy: Copy, component: str) -> None:
    folder = model_copy()
    index = split(folder, component, keep=True)
    (index.parent / "evil.bin").write_bytes(pickle.dumps(Bomb()))
    names = json.loads(index.read_text())["weight_map"]
    write_index(index, dict.fromkeys(names, "evil.bin"))
    with pytest.raises(UnsafeError, match=r"points to \"evil\.bin\"") as caught:
        load(folder)
    assert caught.value.exit_code == 6


def test_files_that_no_library_would_load_are_never_opened(model_copy: Copy, loaded: Any) -> None:
    folder = model_copy()
    for component, stem in STEMS.items():
        for name in (f"{stem}.bin", "pytorch_model.bin", "adapter_model.bin", f"{stem}.msgpack"):
            (folder / component / name).write_bytes(pickle.dumps(Bomb()))
        for name in (f"{stem}.bin.index.json", "pytorch_model.bin.index.json"):
            write_index(folder / component / name, {"x": f"{stem}.bin"})
    # For the text encoder, Transformers prefers the file to the index; an adapter is a file that
    # it would load by itself.
    write_index(folder / "text_encoder" / "model.safetensors.index.json", {"x": "model.bin"})
    (folder / "text_encoder" / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    assert np.array_equal(draw(load(folder)).pixels, draw(loaded).pixels)


def truncate(index: Path, shards: list[Path]) -> None:
    shards[1].write_bytes(shards[1].read_bytes()[:-1])


def remove(index: Path, shards: list[Path]) -> None:
    shards[1].unlink()


def link_to_nothing(index: Path, shards: list[Path]) -> None:
    shards[1].unlink()
    shards[1].symlink_to("nowhere")


def make_folder(index: Path, shards: list[Path]) -> None:
    shards[1].unlink()
    shards[1].mkdir()


def drop_a_tensor(index: Path, shards: list[Path]) -> None:
    tensors = load_file(shards[1])
    tensors.pop(min(tensors))
    save_file(tensors, shards[1], {"format": "pt"})


def add_a_tensor(index: Path, shards: list[Path]) -> None:
    tensors = load_file(shards[1])
    save_file({**tensors, "extra": np.zeros(2)}, shards[1], {"format": "pt"})


def point(target: Any) -> Callable[[Path, list[Path]], None]:
    def change(index: Path, shards: list[Path]) -> None:
        write_index(index, target)

    return change


def repeat_a_shard(index: Path, shards: list[Path]) -> None:
    shutil.copyfile(shards[0], shards[1])


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (truncate, CorruptError, "-00002-of-00002.safetensors has"),
        (remove, ModelError, "names diffusion_pytorch_model-00002-of-00002.safetensors"),
        (link_to_nothing, ModelError, "cannot read .*-00002-of-00002.safetensors"),
        (make_folder, CorruptError, "-00002-of-00002.safetensors: not a regular file"),
        (drop_a_tensor, CorruptError, "-00002-of-00002.safetensors lacks"),
        (add_a_tensor, CorruptError, 'unexpectedly has "extra"'),
        (repeat_a_shard, CorruptError, "lacks .* and "),
        (point({"x": "../model.safetensors"}), CorruptError, "weight_map"),
        (point({"x": "C:model.safetensors"}), CorruptError, "weight_map"),
        (point({"x": "..\\model.safetensors"}), CorruptError, "weight_map"),
        (point({"x": 3}), CorruptError, "weight_map"),
        (point({}), CorruptError, "weight_map"),
        (point([]), CorruptError, "weight_map"),
        (point(None), CorruptError, "weight_map"),
        (point({"x": "weights.pt"}), UnsafeError, "points to"),
    ],
)
def test_damaged_shards_are_named(
    model_copy: Copy, damage: Any, error: type[SdcliError], message: str
) -> None:
    folder = model_copy()
    index = split(folder, "unet")
    damage(index, [index.parent / name for name in shard_names(STEMS["unet"], None)])
    with pytest.raises(error, match=message) as caught:
        load(folder)
    assert caught.value.message.startswith("unet: ")
    assert type(caught.value) is error


@pytest.mark.parametrize("component", STEMS)
def test_a_changed_shard_changes_the_fingerprint(model_copy: Copy, component: str) -> None:
    folder = model_copy()
    split(folder, component)
    other = Path(shutil.copytree(folder, folder.parent / "other"))
    shard = other / component / shard_names(STEMS[component], None)[1]
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    assert fingerprint(load(folder).spec) != fingerprint(load(other).spec)


@pytest.mark.sample(4)
@pytest.mark.parametrize(
    ("value", "dtype", "words", "hint"),
    [
        (1e6, "float32", None, None),
        (1e6, "float16", "has values that are too large for float16", "--dtype float32"),
        (float("nan"), "float16", "has NaN or infinite values", "download the file again"),
    ],
)
@pytest.mark.parametrize(
    ("component", "name"),
    [
        ("unet", "conv_in.weight"),
        ("unet", "conv_out.weight"),
        ("vae", "decoder.conv_in.weight"),
        ("text_encoder", "text_model.final_layer_norm.weight"),
    ],
)
@pytest.mark.parametrize("is_sharded", [False, True])
def test_weights_that_a_type_cannot_hold_are_told_from_damaged_ones(
    model_copy: Copy, is_sharded: bool, component: str, name: str,
    value: float, dtype: str, words: str | None, hint: str | None,
) -> None:  # fmt: skip
    folder = model_copy()
    path = folder / component / f"{STEMS[component]}.safetensors"
    tensors = {key: tensor.astype(np.float32) for key, tensor in load_file(path).items()}
    tensors[name][...] = value
    save_file(tensors, path, {"format": "pt"})
    if is_sharded:
        index = split(folder, component)
        path = index.parent / json.loads(index.read_text())["weight_map"][name]
    error = load(folder, dtype=dtype).defective_weights_error()
    if words is None:
        assert error is None
        return
    assert error.message.endswith(f"{path}: {name} {words}")
    assert hint in error.hint
