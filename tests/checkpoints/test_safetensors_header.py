"""Headers of safetensors files, valid and broken."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from sdcli.checkpoints.file_start import FileStart, read_start
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.checkpoints.safetensors_header import read_header
from sdcli.errors import CorruptError
from tests.checkpoints.model_files import ONE_TENSOR, pack

SHAPES = st.lists(st.lists(st.integers(0, 4), max_size=4), min_size=1, max_size=5)
DTYPES = st.sampled_from([np.float32, np.float16, np.uint8, np.int64])


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("headers") / "a.safetensors"


@given(shapes=SHAPES, dtype=DTYPES, metadata=st.dictionaries(st.text(), st.text(), max_size=3))
def test_a_file_written_by_the_library_is_read(path, shapes, dtype, metadata):
    arrays = {f"t{i}": np.full(shape, i, dtype) for i, shape in enumerate(shapes)}
    data = save(arrays, metadata=metadata)
    path.write_bytes(data)
    header = read_header(path)
    assert dict(header.metadata) == metadata
    assert {name: info.shape for name, info in header.tensors.items()} == {
        name: array.shape for name, array in arrays.items()
    }
    for name, info in header.tensors.items():
        assert data[info.begin : info.end] == arrays[name].tobytes()


@given(keep=st.integers(0, 10**6))
def test_every_truncated_file_is_corrupt(path, keep):
    data = save({"a": np.ones((3, 5), np.float32), "b": np.ones(7, np.uint8)}, metadata={"k": "v"})
    path.write_bytes(data[: keep % len(data)])
    with pytest.raises(CorruptError) as caught:
        read_header(path)
    assert caught.value.exit_code == 7
    assert str(path) in caught.value.message


@pytest.mark.parametrize(
    "data",
    [
        b"\xff" * 20,
        (2**63).to_bytes(8, "little") + b"{}",
        (90_000_000).to_bytes(8, "little") + b"{}",
        pack(ONE_TENSOR, b"\0" * 9),
        pack({}, b""),
        pack([], b""),
        pack({"x": 3}, b""),
        pack({"__metadata__": {"a": 1}} | ONE_TENSOR, b"\0" * 8),
        pack({"x": ONE_TENSOR["x"] | {"shape": [3]}}, b"\0" * 8),
        pack({"x": ONE_TENSOR["x"] | {"shape": [-2]}}, b"\0" * 8),
        pack({"x": ONE_TENSOR["x"] | {"shape": [2.0]}}, b"\0" * 8),
        pack({"x": ONE_TENSOR["x"] | {"data_offsets": [8, 0]}}, b"\0" * 8),
        pack({"x": ONE_TENSOR["x"], "y": ONE_TENSOR["x"]}, b"\0" * 8),
        pack({"x": ONE_TENSOR["x"] | {"data_offsets": [4, 12]}}, b"\0" * 12),
        pack({"x": ONE_TENSOR["x"] | {"dtype": ["F32"]}}, b"\0" * 8),
        (10_000).to_bytes(8, "little") + b"[" * 10_000,
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    ],
)
def test_a_broken_header_is_corrupt(path, data):
    path.write_bytes(data)
    with pytest.raises(CorruptError):
        read_header(path)


def test_the_embedded_weights_are_complete():
    for file in EMBEDDED_FOLDER.rglob("*.safetensors"):
        assert read_header(file).tensors


@pytest.mark.parametrize("length", [0x280, 0x380, 0x480, 0x580, 0x8B1F])
def test_a_length_that_begins_like_another_format_is_a_length(path, length):
    entries = json.dumps(ONE_TENSOR).encode()
    path.write_bytes(length.to_bytes(8, "little") + entries.ljust(length) + b"\0" * 8)
    assert read_start(path) is FileStart.SAFETENSORS
    assert list(read_header(path).tensors) == list(ONE_TENSOR)
