"""Metadata of latents files with other types than sdcli writes: corrupt, never a traceback."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
from safetensors import safe_open

from sdcli.errors import CorruptError
from sdcli.storage.latents.latents_file import parse_latents_file, read_latents_header
from sdcli.storage.latents.reader import read_any_latents_file, read_latents_file
from sdcli.storage.latents.record_types import wrong_key
from tests.storage.latents_files import rewrite, write_complete_file

OTHERS = [3, 2.5, True, None, "text", [], [1], ["a"], {}, {"a": 1}, [None], 10**400, [10**400]]


def record_of(path: Path) -> dict:
    with safe_open(path, framework="numpy") as file:
        return json.loads(file.metadata()["record"])


def read_everything(path: Path) -> None:
    """Read all that the commands read of a file."""
    file = read_latents_file(path)
    _ = file.request, file.spec_fields, file.num_steps, file.init_noise_sigma, file.final()
    _ = [file.timestep(step) for step in range(-1, 7)], file.steps("xt"), file.tensor("xt", 0)


@pytest.mark.parametrize("value", OTHERS, ids=lambda value: repr(value)[:20])
def test_a_record_with_another_type_is_corrupt_or_unchanged(tmp_path, value):
    path = write_complete_file(tmp_path)
    record = record_of(path)
    for key in record:
        rewrite(path, record=json.dumps({**record, key: value}))
        if wrong_key("record", {**record, key: value}) is None:
            with suppress(CorruptError):  # such as a request that lacks its prompt
                read_everything(path)
            continue
        with pytest.raises(CorruptError) as caught:
            read_everything(path)
        assert caught.value.message.startswith(str(path))
        assert len(caught.value.message) < 400


@pytest.mark.parametrize("key", ["request", "scheduler", "timesteps", "versions", "weights"])
@pytest.mark.parametrize("value", [3, None, "text", True, [{}], 10**400])
def test_a_key_of_another_type_is_named(tmp_path, key, value):
    path = write_complete_file(tmp_path)
    rewrite(path, record=json.dumps({**record_of(path), key: value}))
    with pytest.raises(CorruptError, match=rf"an unknown layout: '{key}'"):
        read_latents_file(path)


@pytest.mark.parametrize(
    "value", ["nan", "inf", "-1", "1e999", "x", "", "9" * 5000, "1" + "0" * 400]
)
@pytest.mark.parametrize("key", ["steps", "init_noise_sigma"])
def test_a_number_of_the_metadata_is_finite(tmp_path, key, value):
    path = write_complete_file(tmp_path)
    rewrite(path, **{key: value})
    with pytest.raises(CorruptError, match=f"no readable {key}"):
        read_everything(path)


@pytest.mark.parametrize("text", ["", "3", "[]", "null", "{", '"a"', "[" * 99_999, '{"a": ' * 990])
def test_a_record_that_is_no_object_is_corrupt(tmp_path, text):
    path = write_complete_file(tmp_path)
    rewrite(path, record=text)
    with pytest.raises(CorruptError):
        read_latents_file(path)


@pytest.mark.parametrize("depth", [60, 500])
def test_a_record_that_is_nested_deeply_is_corrupt(tmp_path, depth):
    path = write_complete_file(tmp_path)
    value: object = 1
    for _ in range(depth):
        value = [value]
    rewrite(path, record=json.dumps({**record_of(path), "extra": value}))
    with pytest.raises(CorruptError, match="extra"):
        read_latents_file(path)


@pytest.mark.parametrize("value", OTHERS, ids=lambda value: repr(value)[:20])
@pytest.mark.parametrize("key", ["model", "vae", "dtype", "force_vae", "seed", "scaling_factor"])
def test_facts_of_an_encoded_image_are_checked(tmp_path, key, value):
    path = write_complete_file(tmp_path)
    rewrite(path, record=None, encoded=json.dumps({key: value}))
    if wrong_key("encoded", {key: value}) is None:
        _ = read_any_latents_file(path).spec_fields
        return
    with pytest.raises(CorruptError, match=f"an unknown layout: '{key}'"):
        read_any_latents_file(path)


@pytest.mark.parametrize("metadata", [{"a": 3}, {"a": None}, {"a": ["b"]}, [], 3, "text"])
def test_metadata_that_is_no_text_is_corrupt(tmp_path, metadata):
    path = write_complete_file(tmp_path)
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.dumps({**json.loads(data[8 : 8 + length]), "__metadata__": metadata}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + data[8 + length :])
    if metadata:
        with pytest.raises(CorruptError):
            read_latents_header(path)
    else:
        assert parse_latents_file(path, read_latents_header(path)).record == {}
