"""Headers with the names and shapes of the published models, in files without data."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import CLIPTextConfig

from sdcli.checkpoints.config_sizes import check_sizes
from sdcli.checkpoints.safetensors_header import read_header
from sdcli.checkpoints.single_file.detection import detect
from sdcli.checkpoints.single_file.model import open_single_file
from sdcli.checkpoints.weights import check_weights
from sdcli.pipeline_spec import PipelineSpec
from tests.checkpoints.single_file.tiny_models import (
    CLASSES,
    SUPPORTED,
    real_configs,
    tensors,
)

KEYS = {"sd1": 1143, "sd2": 1240, "sdxl": 2516, "sdxl-refiner": 1859}
"""Tensors of the published files, with two schedule buffers of twelve, and no EMA."""

UNET_PARAMETERS = {
    "sd1": 859_520_964,
    "sd1-inpaint": 859_535_364,
    "sd2": 865_910_724,
    "sd2-inpaint": 865_925_124,
    "sdxl": 2_567_463_684,
    "sdxl-inpaint": 2_567_478_084,
    "sdxl-refiner": 2_259_526_660,
}


@cache
def meta_models(family: str) -> dict[str, Any]:
    with torch.device("meta"):
        return {
            name: CLASSES[name].from_config(config)
            if hasattr(CLASSES[name], "from_config")
            else CLASSES[name](CLIPTextConfig(**config))
            for name, config in real_configs(family).items()
            if name in CLASSES
        }


def write_sparse(state: Mapping[str, torch.Tensor], path: Path) -> Path:
    """Write a header for tensors of any size; their data takes no space on the disk."""
    header: dict[str, Any] = {}
    end = 0
    for name, tensor in state.items():
        begin, end = end, end + 2 * tensor.numel()
        header[name] = {"dtype": "F16", "shape": list(tensor.shape), "data_offsets": [begin, end]}
    raw = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        file.truncate(8 + len(raw) + end)
    return path


@pytest.mark.sample(4)
@pytest.mark.parametrize("family", SUPPORTED)
def test_a_published_model_is_recognised_and_mapped(tmp_path: Path, family: str) -> None:
    models = meta_models(family)
    assert sum(p.numel() for p in models["unet"].parameters()) == UNET_PARAMETERS[family]
    path = write_sparse(tensors(family, models), tmp_path / "a.safetensors")

    detection = detect(read_header(path), path)
    assert detection.family
    assert detection.family.id == family
    assert (
        len(read_header(path).tensors) + (10 if family.startswith(("sd1", "sd2")) else 0)
        == (KEYS[family.removesuffix("-inpaint")])
    )
    single_file = open_single_file(PipelineSpec(model=str(path)))
    assert single_file
    for name, model in models.items():
        header = check_weights(name, single_file.weights(name))
        shapes = {key.removeprefix("text_model."): t.shape for key, t in header.tensors.items()}
        expected = {
            key.removeprefix("text_model."): tuple(t.shape) for key, t in model.state_dict().items()
        }
        assert shapes == expected
        if name != "text_encoder_2":
            check_sizes(name, single_file.folder / name / "config.json", header)
    assert not [note for note in single_file.load_notes if "guess" not in note]
