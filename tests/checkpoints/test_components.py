"""Components of a model folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdcli.checkpoints.components import Component, read_components
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.errors import CorruptError
from tests.checkpoints.model_files import ONE_TENSOR, pack, write_model


def test_the_components_of_the_embedded_model():
    components = {component.name: component for component in read_components(EMBEDDED_FOLDER)}
    assert {"unet", "vae", "text_encoder", "tokenizer", "scheduler"} <= set(components)
    assert components["unet"].class_name == "UNet2DConditionModel"
    assert components["unet"].parameters > 1_000_000
    assert components["unet"].dtypes == ("F16",)
    assert not any(component.has_pickle for component in components.values())
    assert components["tokenizer"].files == ()


@pytest.fixture
def unet_with(tmp_path):
    """Write a model whose UNet folder has one weight file, and return the model's folder."""

    def write(data: bytes, name: str = "w.safetensors") -> Path:
        folder = write_model(tmp_path)
        (folder / "unet" / name).write_bytes(data)
        return folder

    return write


def read_unet(folder: Path) -> Component:
    [unet] = [component for component in read_components(folder) if component.name == "unet"]
    return unet


def test_parameters_are_counted(unet_with):
    unet = read_unet(unet_with(pack(ONE_TENSOR, b"\0" * 8)))
    assert (unet.parameters, unet.dtypes, unet.has_pickle) == (2, ("F32",), False)


@pytest.mark.parametrize("name", ["w.bin", "w.ckpt", "w.pt", "w.pth"])
def test_a_pickle_is_recognised_by_its_suffix(unet_with, name):
    unet = read_unet(unet_with(b"anything", name))
    assert unet.has_pickle
    assert (unet.bytes, unet.parameters) == (8, 0)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 20,
        pack(ONE_TENSOR, b"\0" * 7),
        pack(ONE_TENSOR, b"\0" * 9),
        pack({"x": 3}, b""),
        pack({}, b""),
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        (5).to_bytes(8, "little") + b"{oops",
    ],
)
def test_broken_weights_are_reported_as_corrupt(unet_with, data):
    with pytest.raises(CorruptError):
        read_components(unet_with(data))


def test_a_component_that_the_pipeline_does_without_is_left_out(tmp_path):
    folder = write_model(tmp_path, index={"safety_checker": [None, None]})
    names = {component.name for component in read_components(folder)}
    assert names == {"unet", "vae", "text_encoder", "tokenizer", "scheduler"}
