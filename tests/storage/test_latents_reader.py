"""Test that files of latents are found, read and validated."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import load_file, save, save_file

from sdcli.errors import CorruptError, UsageError
from sdcli.storage.latents.latents_file import LatentsFile
from sdcli.storage.latents.reader import has_latents, read_any_latents_file, read_latents_file
from sdcli.storage.latents.writer import SCHEMA
from sdcli.storage.metadata import record
from tests.jobs import make_job, make_result
from tests.storage.latents_files import ALL, SHAPE, VERSIONS, rewrite, write_complete_file


@pytest.fixture
def complete(tmp_path: Path) -> Path:
    return write_complete_file(tmp_path)


def test_a_file_has_the_tensors_and_the_record_of_its_run(complete: Path, tmp_path: Path) -> None:
    assert complete == tmp_path / "a.latents.safetensors"
    file = read_latents_file(complete)
    assert file.record == json.loads(json.dumps(record.make_record(make_result(), VERSIONS)))
    assert (file.num_steps, file.image, file.shape, file.is_complete) == (4, "a.png", SHAPE, True)
    expected = load_file(complete)
    assert list(file.tensors) == ALL.tensor_names(4)
    for name, array in expected.items():
        assert np.array_equal(file.tensor_by_name(name), array)
    assert np.array_equal(file.tensor("xt", 0), 2 * expected["noise"])
    assert np.array_equal(file.tensor("xt", 4), expected["final"])
    assert file.request.prompt == make_job().prompt
    assert list(tmp_path.iterdir()) == [complete]


def test_both_readers_return_the_same_model(complete: Path) -> None:
    strict, lenient = read_latents_file(complete), read_any_latents_file(complete)
    for name in ("path", "tensors", "metadata", "record", "encoded", "num_steps", "shape", "dtype"):
        assert getattr(strict, name) == getattr(lenient, name), name
    assert lenient.select_tensor() == "final"
    assert np.array_equal(lenient.images("final"), strict.final()[None])


@pytest.mark.parametrize("read", [read_latents_file, read_any_latents_file])
def test_an_image_stands_for_its_saved_latents(complete: Path, tmp_path: Path, read: Any) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    assert read(tmp_path / "a.png").path == complete
    with pytest.raises(UsageError, match="no file at"):
        read(tmp_path / "b.png")


def test_an_image_without_saved_latents_is_a_usage_error(tmp_path: Path) -> None:
    path = tmp_path / "b.png"
    Image.new("RGB", (8, 8)).save(path)
    assert not has_latents(path)
    with pytest.raises(UsageError, match="has no saved latents"):
        read_latents_file(path)
    with pytest.raises(UsageError, match=r"latents are \.safetensors files"):
        read_any_latents_file(path)


def test_latents_are_found_without_their_image(complete: Path, tmp_path: Path) -> None:
    assert has_latents(tmp_path / "a.png")
    assert read_latents_file(tmp_path / "a.png").path == complete


def test_latents_of_an_overwritten_image_are_refused(complete: Path, tmp_path: Path) -> None:
    from sdcli.storage.images.codec import encode_image

    other = make_result(seed=8)
    data = encode_image(other.pixels, ".png", record.make_record(other, VERSIONS))
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(UsageError, match="made later") as caught:
        read_latents_file(tmp_path / "a.png")
    assert caught.value.code == "latents.other"
    assert read_latents_file(complete).path == complete


def test_every_truncation_is_found(complete: Path) -> None:
    data = complete.read_bytes()
    for length in [0, 4, 8, 100, len(data) // 2, len(data) - 1]:
        complete.write_bytes(data[:length])
        for read in (read_latents_file, read_any_latents_file):
            with pytest.raises(CorruptError) as caught:
                read(complete)
            assert caught.value.code == "latents.corrupt"
    complete.write_bytes(data + b"\0")
    with pytest.raises(CorruptError):
        read_latents_file(complete)


@pytest.mark.parametrize(
    "changes",
    [
        {"record": "{"},
        {"record": "[]"},
        {"record": None},
        {"record": json.dumps({"request": {"prompt": 3}})},
        {"record": json.dumps({"request": {"prompt": "a", "unheard": 3}})},
        {"record": json.dumps({"weights": 3})},
        {"steps": "3"},
        {"steps": "many"},
        {"steps": None},
        {"init_noise_sigma": "x"},
        {"tensors": {"final": np.zeros((1, 4, 8, 8), np.float32)}},
        {"tensors": {"final": np.zeros(SHAPE, np.int32)}},
        {"tensors": {"final": np.zeros(SHAPE), "noise": np.zeros((4, 8, 9))}},
        {"tensors": {"weight": np.zeros(SHAPE)}},
        {"tensors": {"xt_0009": np.zeros(SHAPE)}},
    ],
    ids=str,
)
def test_a_file_that_contradicts_itself_is_corrupt(complete: Path, changes: dict[str, Any]) -> None:
    rewrite(complete, **changes)
    with pytest.raises(CorruptError) as caught:
        read_latents_file(complete)
    assert caught.value.code == "latents.corrupt"


def test_a_file_of_another_tool_is_read_only_where_that_is_allowed(
    complete: Path, tmp_path: Path
) -> None:
    rewrite(complete, schema=None)
    with pytest.raises(UsageError, match="not a file of latents"):
        read_latents_file(complete)
    rewrite(complete, schema="sdcli/latents/9")
    with pytest.raises(UsageError, match="latents/9"):
        read_latents_file(complete)
    assert read_any_latents_file(complete).request.prompt == make_job().prompt
    for read in (read_latents_file, read_any_latents_file):
        with pytest.raises(UsageError, match="no file"):
            read(tmp_path / "none.safetensors")
    assert SCHEMA == "sdcli/latents/1"


def bare(path: Path, **arrays: Any) -> LatentsFile:
    save_file(arrays, path)
    return read_any_latents_file(path)


def test_a_tensor_is_selected_by_name_or_when_there_is_no_doubt(tmp_path: Path) -> None:
    path, array = tmp_path / "x.safetensors", np.zeros(SHAPE, np.float32)
    assert bare(path, z=array).select_tensor() == "z"
    assert bare(path, z=array, final=array).select_tensor() == "final"
    assert bare(path, z=array, final=array).select_tensor("z") == "z"
    with pytest.raises(UsageError, match="has no tensor 'zz'"):
        bare(path, z=array, y=array).select_tensor("zz")
    with pytest.raises(UsageError, match="2 tensors"):
        bare(path, z=array, y=array).select_tensor()


@pytest.mark.parametrize(
    "array", [np.zeros((8, 8), np.float32), np.zeros(SHAPE, np.int32), np.zeros((4, 0, 8))]
)
def test_a_tensor_that_cannot_be_latents_is_refused(tmp_path: Path, array: Any) -> None:
    with pytest.raises(UsageError, match="not latents"):
        bare(tmp_path / "x.safetensors", z=array).select_tensor()


def test_another_tools_file_has_no_record(tmp_path: Path) -> None:
    file = bare(tmp_path / "x.safetensors", z=np.stack([np.ones(SHAPE), np.zeros(SHAPE)]))
    assert (file.record, file.encoded, file.origin, file.spec_fields) == ({}, {}, {}, {})
    assert (file.num_steps, file.init_noise_sigma, file.image) == (0, 1.0, None)
    assert file.images("z").shape == (2, *SHAPE)
    with pytest.raises(UsageError, match="not generated from a prompt"):
        _ = file.request


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_corrupt(tmp_path: Path, value: float) -> None:
    with pytest.raises(CorruptError, match="not finite"):
        bare(tmp_path / "x.safetensors", z=np.full(SHAPE, value)).tensor_by_name("z")


@given(st.lists(st.floats(width=16, allow_nan=False, allow_infinity=False), min_size=1))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_dtype_is_read_as_float32(tmp_path: Path, values: list[float]) -> None:
    """Half-precision values are exact in float32; bfloat16 keeps its upper half."""
    import torch
    from safetensors.torch import save_file as save_torch_file

    path = tmp_path / "x.safetensors"
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        tensor = torch.tensor(values, dtype=torch.float64).to(dtype)
        save_torch_file({"z": tensor}, path)
        array = read_any_latents_file(path).tensor_by_name("z")
        assert array.dtype == np.float32
        assert np.array_equal(array, tensor.to(torch.float32).numpy())


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    text=st.text(max_size=60)
    | st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(
                st.sampled_from(["request", "weights", "events", "pixels"]), inner, max_size=3
            )
        ),
    ).map(json.dumps)
)
def test_any_record_is_read_or_reported(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.safetensors"
    metadata = {"schema": SCHEMA, "record": text, "steps": "0"}
    path.write_bytes(save({"final": np.zeros(SHAPE, np.float32)}, metadata=metadata))
    for read in (read_latents_file, read_any_latents_file):
        with suppress(CorruptError):  # any other exception would be a bug
            assert isinstance(read(path).record, dict)
