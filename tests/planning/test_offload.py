"""The memory that models need, and the rungs that GPUs of every size get."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sdcli.checkpoints.safetensors_header import TensorInfo
from sdcli.errors import UsageError
from sdcli.fields.execution import RUNGS, allowed_rungs, check_device
from sdcli.planning.offload import (
    GIBIBYTE,
    SD_15,
    SDXL,
    ImageSize,
    ModelSize,
    choose_rung,
    decoding_bytes,
    drawing_bytes,
    needed_bytes,
    needs_tiles,
    part_size,
)

MODELS = {"sd15": SD_15, "sdxl": SDXL}
SIZES = {"sd15": ImageSize(width=512, height=512), "sdxl": ImageSize(width=1024, height=1024)}
MEBIBYTE = 2**20


@pytest.mark.parametrize(
    ("model", "free", "rung", "tiles"),
    [
        ("sd15", 0.7, "sequential", True),
        ("sd15", 1.0, "group", True),
        ("sd15", 1.5, "group", False),
        ("sd15", 2.5, "model", False),
        ("sd15", 3.5, "none", False),
        ("sd15", 24, "none", False),
        ("sdxl", 1.5, "sequential", True),
        ("sdxl", 3.3, "group", True),
        ("sdxl", 5.3, "group", False),
        ("sdxl", 7.3, "model", False),
        ("sdxl", 11.3, "none", False),
        ("sdxl", 79, "none", False),
    ],
)
def test_the_rung_of_a_model_on_a_gpu(model: str, free: float, rung: str, tiles: bool) -> None:
    size, image, budget = MODELS[model], SIZES[model], int(free * GIBIBYTE)
    assert choose_rung(size, image, budget, RUNGS) == rung
    assert needs_tiles(size, image, budget, rung) == tiles


@pytest.mark.parametrize("model", MODELS)
def test_each_rung_needs_less_than_the_one_before(model: str) -> None:
    needed = [needed_bytes(MODELS[model], SIZES[model], rung) for rung in RUNGS]
    assert needed == sorted(needed, reverse=True)
    assert len(set(needed)) == len(RUNGS)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("rung", RUNGS)
def test_larger_images_and_guidance_need_more(model: str, rung: str) -> None:
    def needed(width: int, rows: int) -> int:
        return needed_bytes(MODELS[model], ImageSize(width=width, height=2048, rows=rows), rung)

    # A text encoder or the decoder may need more than the UNet.
    assert needed(1024, 1) <= needed(1024, 2) < needed(8192, 2)


# Peaks of networks of the true size, run on the meta device: see the factors.
@pytest.mark.parametrize(
    ("model", "width", "height", "rows", "drawing", "decoding"),
    [
        ("sd15", 512, 512, 1, 65.1, 384.1),
        ("sd15", 768, 512, 2, 195.3, 576.1),
        ("sdxl", 1024, 1024, 1, 157.9, 2 * 1536.3),
        ("sdxl", 1536, 1024, 2, 473.5, 2 * 2304.3),
    ],
)
def test_the_estimate_is_above_what_the_networks_were_seen_to_use(
    model: str, width: int, height: int, rows: int, drawing: float, decoding: float
) -> None:
    image = ImageSize(width=width, height=height, rows=rows)
    estimates = drawing_bytes(MODELS[model], image), decoding_bytes(MODELS[model], image)
    for estimate, seen in zip(estimates, (drawing, decoding), strict=True):
        assert seen * MEBIBYTE <= estimate <= 2.1 * seen * MEBIBYTE


def test_a_part_is_counted_from_the_shapes_in_its_header() -> None:
    shapes = {"conv_in.weight": (320, 4, 3, 3), "conv_in.bias": (320,), "x": (640, 320)}
    header = {
        name: TensorInfo(dtype="F16", shape=shape, begin=0, end=0) for name, shape in shapes.items()
    }
    size = part_size(header)
    assert (size.numbers, size.largest) == (320 * 36 + 320 + 640 * 320, 640 * 320)
    assert size.channels == 320


def test_float32_needs_twice_the_memory() -> None:
    double = ModelSize(
        text_encoders=SD_15.text_encoders, unets=SD_15.unets, vae=SD_15.vae,
        number_bytes=4, unet_number_bytes=4, vae_number_bytes=4,
    )  # fmt: skip
    image = SIZES["sd15"]
    assert choose_rung(double, image, int(3.5 * GIBIBYTE), RUNGS) == "group"
    assert choose_rung(double, image, int(6.5 * GIBIBYTE), RUNGS) == "none"


def test_a_unet_of_8_bits_stays_on_smaller_gpus() -> None:
    budget = int(5.3 * GIBIBYTE)
    assert choose_rung(SDXL, SIZES["sdxl"], budget, RUNGS) == "group"
    stored = replace(SDXL, unet_number_bytes=1)
    assert choose_rung(stored, SIZES["sdxl"], budget, RUNGS) == "model"


def test_an_option_names_the_first_rung() -> None:
    assert allowed_rungs("auto") == RUNGS
    assert allowed_rungs("none") == ("none",)
    assert allowed_rungs("group") == ("group", "sequential")
    assert choose_rung(SD_15, SIZES["sd15"], 80 * GIBIBYTE, allowed_rungs("group")) == "group"


@pytest.mark.parametrize("device", ["cpu", "mps"])
@pytest.mark.parametrize(
    ("offload", "vram", "option"),
    [("model", None, "offload"), ("sequential", 4.0, "offload"), ("auto", 4.0, "vram")],
)
def test_options_of_a_gpu_are_refused_elsewhere(
    device: str, offload: str, vram: float | None, option: str
) -> None:
    with pytest.raises(UsageError, match=f"--{option}: .*in main memory already") as caught:
        check_device(offload, vram, device)
    assert caught.value.code == f"usage.{option}"
    for other in ("auto", "cuda", "cuda:1"):
        check_device(offload, vram, other)
    for harmless in ("auto", "none", None):
        check_device(harmless, None, device)
