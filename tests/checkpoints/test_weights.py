"""Choosing, checking and hashing weight files."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdcli.checkpoints.file_hashes import sha256
from sdcli.checkpoints.weight_files import WeightFiles, choose_files, choose_weight_file, variant_of
from sdcli.checkpoints.weights import WeightHashes, check_weights, find_weights
from sdcli.errors import CorruptError, ModelError, UnsafeError
from tests.checkpoints.model_files import ONE_TENSOR, pack


def single(path: Path) -> WeightFiles:
    return WeightFiles(path=path, files=(path,))


FILES = ["m.safetensors", "m.fp16.safetensors", "m.non_ema.safetensors", "m.bin", "other.txt"]


@pytest.mark.parametrize(
    ("names", "variant", "expected"),
    [
        (FILES, None, "m.safetensors"),
        (FILES, "fp16", "m.fp16.safetensors"),
        (FILES, "bf16", "m.safetensors"),
        (["m.fp16.safetensors"], None, "m.fp16.safetensors"),
        (["m.non_ema.safetensors"], None, None),
        (["m.non_ema.safetensors"], "non_ema", "m.non_ema.safetensors"),
        (["m.bin"], None, None),
        ([], "fp16", None),
    ],
)
def test_the_weight_file_of_a_component(names, variant, expected):
    assert choose_weight_file(names, "m", variant) == expected


@given(st.lists(st.sampled_from(FILES), unique=True), st.sampled_from([None, "fp16", "x"]))
def test_the_order_of_the_names_does_not_matter(names, variant):
    chosen = choose_weight_file(names, "m", variant)
    assert chosen == choose_weight_file(reversed(names), "m", variant)
    assert chosen is None or (chosen in names and chosen.endswith(".safetensors"))


def test_the_variant_in_a_file_name():
    assert variant_of("model.fp16.safetensors") == "fp16"
    assert variant_of("model.safetensors") is None
    assert variant_of("model.safetensors.index.json") is None
    assert {variant_of(name) for name in FP16_INDICES} == {"fp16"}


INDEX = "m.safetensors.index.json"
FP16_INDICES = (
    "m.safetensors.index.fp16.json",
    "m.safetensors.fp16.index.json",
    "m.fp16.safetensors.index.json",
)


@pytest.mark.parametrize("index", FP16_INDICES)
def test_the_index_of_a_variant(index: str):
    assert choose_weight_file([index, INDEX], "m", "fp16") == index
    assert choose_weight_file([index, INDEX], "m", None) == INDEX
    assert choose_weight_file([index], "m", None) == index


def test_of_a_file_and_an_index_each_library_loads_its_own():
    assert choose_weight_file(["m.safetensors", INDEX], "m", None) == INDEX
    names = ["model.safetensors", "model.safetensors.index.json"]
    assert choose_weight_file(names, "model", None) == "model.safetensors"
    assert choose_weight_file(["m.bin.index.json", "m.safetensors"], "m", None) == "m.safetensors"


def test_shards_are_no_weight_file_without_an_index():
    shards = ["m-00001-of-00002.safetensors", "m.fp16-00001-of-00002.safetensors"]
    assert choose_weight_file(shards, "m", None) is None


def test_the_shards_of_an_index_are_downloaded_with_it():
    plain = [f"m-0000{i}-of-00002.safetensors" for i in (1, 2)]
    fp16 = [
        "m.fp16-00001-of-00002.safetensors",
        "m-00002-of-00002.fp16.safetensors",  # as Diffusers named it before
    ]
    names = [INDEX, FP16_INDICES[0], *plain, *fp16, "other-00001-of-00002.safetensors", "m.bin"]
    assert choose_files(names, "m", None) == [INDEX, *plain]
    assert choose_files(names, "m", "fp16") == [FP16_INDICES[0], *fp16]
    assert choose_files(["m.safetensors", "m.bin"], "m", None) == ["m.safetensors"]
    assert choose_files(["m.bin"], "m", None) == []


def test_a_file_stands_for_itself(tmp_path: Path):
    path = tmp_path / "any.safetensors"
    path.touch()
    assert find_weights(path, "vae", "fp16") == single(path)


@pytest.mark.parametrize("folder", ["missing", "."])
def test_missing_weights_are_reported(tmp_path: Path, folder: str):
    with pytest.raises(ModelError, match=r"unet: no \.safetensors file in") as caught:
        find_weights(tmp_path / folder, "unet", None)
    assert caught.value.code == "model.incomplete"


def test_pickles_alone_are_refused(tmp_path: Path):
    (tmp_path / "diffusion_pytorch_model.bin").touch()
    with pytest.raises(UnsafeError, match="is a pickle"):
        find_weights(tmp_path, "unet", None)
    (tmp_path / "diffusion_pytorch_model.safetensors").touch()
    assert find_weights(tmp_path, "unet", None).path.suffix == ".safetensors"


def test_a_truncated_file_is_reported_with_its_component(tmp_path: Path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(pack(ONE_TENSOR, b"\0" * 8))
    check_weights("unet", single(path))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorruptError, match=r"^unet: "):
        check_weights("unet", single(path))


def test_the_hash_is_that_of_the_contents(tmp_path: Path):
    path = tmp_path / "w"
    for data, mtime in ((b"one", 1), (b"two", 2)):
        path.write_bytes(data)
        os.utime(path, (mtime, mtime))
        assert sha256(path) == hashlib.sha256(data).hexdigest()


def test_the_name_of_a_blob_in_the_cache_is_its_hash(tmp_path: Path):
    blob = tmp_path / "blobs" / ("ab" * 32)
    blob.parent.mkdir()
    blob.write_bytes(b"not hashed")
    link = tmp_path / "w.safetensors"
    link.symlink_to(blob)
    assert sha256(link) == blob.name
    elsewhere = blob.rename(tmp_path / blob.name)
    assert sha256(elsewhere) == hashlib.sha256(b"not hashed").hexdigest()


def test_hashes_leave_out_a_file_that_is_gone(tmp_path: Path):
    (tmp_path / "here").write_bytes(b"x")
    hashes = WeightHashes({name: single(tmp_path / name) for name in ("gone", "here")})
    assert hashes.result() == {"here": hashlib.sha256(b"x").hexdigest()}
