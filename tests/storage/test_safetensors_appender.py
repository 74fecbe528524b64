"""Test that an appended file is what the safetensors library would have written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from safetensors import safe_open
from safetensors.numpy import load_file

from sdcli.errors import OutputError
from sdcli.storage.latents.safetensors_appender import SafetensorsAppender

DTYPES = st.sampled_from([np.float16, np.float32, np.float64])
ARRAYS = DTYPES.flatmap(
    lambda dtype: arrays(dtype, array_shapes(min_dims=1, max_dims=4, max_side=3))
)
NAMES = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=20)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    tensors=st.dictionaries(NAMES, ARRAYS, min_size=1, max_size=5),
    text=st.text(max_size=40),
    repeat=st.sampled_from([1, 500]),
)
def test_the_library_reads_what_was_appended(
    tmp_path: Path, tensors: dict[str, np.ndarray], text: str, repeat: int
) -> None:
    """Metadata of any length, also longer than the reserved header, moves no value."""
    appender = SafetensorsAppender(tmp_path, {"a": text}, tensors=0)
    for name, array in tensors.items():
        appender.append(name, array)
    appender.metadata["b"] = text * repeat
    path = Path(appender.publish(tmp_path / "x.safetensors", force=True))
    appender.discard()
    loaded = load_file(path)
    assert appender.names == list(tensors)
    for name, array in tensors.items():
        assert loaded[name].dtype == array.dtype
        assert np.array_equal(loaded[name], array, equal_nan=True)
    with safe_open(path, framework="numpy") as file:
        assert file.metadata() == {"a": text, "b": text * repeat}


def test_nothing_is_left_of_a_discarded_file(tmp_path: Path) -> None:
    appender = SafetensorsAppender(tmp_path, {}, tensors=1)
    appender.append("a", np.zeros(3))
    assert len(list(tmp_path.iterdir())) == 1
    appender.discard()
    appender.discard()
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"old")
    appender = SafetensorsAppender(tmp_path, {}, tensors=1)
    with pytest.raises(OutputError, match="exists"):
        appender.publish(tmp_path / "x.safetensors", force=False)
    appender.discard()
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_numbered_files_do_not_collide(tmp_path: Path) -> None:
    names = []
    for _ in range(2):
        appender = SafetensorsAppender(tmp_path, {}, tensors=0)
        names.append(Path(appender.publish_numbered("-a.safetensors")).name)
        appender.discard()
    assert names == ["0001-a.safetensors", "0002-a.safetensors"]
