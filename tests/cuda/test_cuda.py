"""What only a GPU can show: its pixels, its batches, and what happens when its memory is full.

`make gpu` runs these tests on a machine that has one.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from sdcli import engine
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.engine.vae.decode import decode_latents
from sdcli.errors import DeviceError
from sdcli.fields.execution import RUNGS
from sdcli.numerics.metrics import psnr
from tests.engine.input_jobs import by_hand
from tests.jobs import CPU, make_job

DEVICE: Final = "cuda"
DTYPES: Final = ("float32", "float16", "bfloat16")
BATCH: Final = 16

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(
        not torch.cuda.is_available(), reason="no GPU that CUDA finds: make gpu runs it on one"
    ),
]


@pytest.fixture(scope="module")
def pipelines() -> Iterator[dict[str, Any]]:
    """The embedded model on the GPU, by the name of its dtype."""
    yield {dtype: load(dtype) for dtype in DTYPES}
    torch.cuda.empty_cache()


def load(dtype: str) -> Any:
    loaded = engine.load(replace(CPU, device=DEVICE, dtype=dtype))
    # The other networks follow when they run.
    loaded.pipeline.vae.to(DEVICE)
    return loaded


def plain_pipeline(dtype: str) -> Any:
    pipeline = StableDiffusionPipeline.from_pretrained(
        EMBEDDED_FOLDER,
        dtype=getattr(torch, dtype),
        safety_checker=None,
        requires_safety_checker=False,
    ).to(DEVICE)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def job_on(dtype: str, **changes: Any) -> Any:
    spec = replace(CPU, device=DEVICE, dtype=dtype)
    return make_job(**{"spec": spec, "num_inference_steps": 8, **changes})


def draw(loaded: Any, *jobs: Any) -> list[Any]:
    return [result.pixels for result in engine.generate_batch(loaded, jobs)]


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_image_is_that_of_diffusers_with_noise_from_the_cpu(
    pipelines: dict[str, Any], dtype: str
) -> None:
    job = job_on(dtype)
    [drawn] = draw(pipelines[dtype], job)
    expected = by_hand(plain_pipeline(dtype), job)
    # The same kernels in the same order; a library may still choose others between two runs.
    assert psnr(drawn, np.asarray(expected)) > 50


def test_the_noise_of_a_seed_is_that_of_the_cpu(pipelines: dict[str, Any]) -> None:
    [on_gpu] = draw(pipelines["float32"], job_on("float32"))
    [on_cpu] = draw(engine.load(CPU), make_job(num_inference_steps=8))
    assert psnr(on_gpu, on_cpu) > 35


# float16 has 11 bits of precision and bfloat16 8: batches round otherwise.
@pytest.mark.parametrize(
    ("dtype", "decibels"), [("float32", 50), ("float16", 35), ("bfloat16", 22)]
)
def test_each_image_of_a_batch_is_near_to_that_alone(
    pipelines: dict[str, Any], dtype: str, decibels: float
) -> None:
    jobs = [job_on(dtype, index=seed, seed=seed) for seed in range(4)]
    for job, together in zip(jobs, draw(pipelines[dtype], *jobs), strict=True):
        [alone] = draw(pipelines[dtype], job)
        assert psnr(alone, together) > decibels


def test_a_feature_cache_keeps_the_picture(pipelines: dict[str, Any]) -> None:
    full, cached = (
        draw(pipelines["float16"], job_on("float16", num_inference_steps=20, feature_cache=every))
        for every in (1, 2)
    )
    assert not np.array_equal(full[0], cached[0])
    assert psnr(full[0], cached[0]) > 25


@contextmanager
def gpu_memory(limit: int) -> Iterator[None]:
    """Let this process use `limit` bytes of the GPU, and all of it afterwards."""
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(limit / total)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()


def peak_of(loaded: Any, jobs: list[Any]) -> tuple[int, list[Any]]:
    """The most bytes that torch held while drawing, and the pixels."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    pixels = draw(loaded, *jobs)
    return torch.cuda.max_memory_reserved(), pixels


def test_a_batch_that_does_not_fit_is_halved() -> None:
    loaded = load("float16")
    size = {"width": 512, "height": 512, "num_inference_steps": 2}
    jobs = [job_on("float16", index=seed, seed=seed, **size) for seed in range(BATCH)]
    of_one, [alone] = peak_of(loaded, jobs[:1])
    of_all, _ = peak_of(loaded, jobs)
    with gpu_memory((of_one + of_all) // 2):
        results = engine.generate_batch(loaded, jobs)
        assert f"out of memory with a batch of {BATCH}, halved" in results[0].events
        assert len(results) == BATCH
        assert psnr(results[0].pixels, alone) > 30
        # A later batch of such images is smaller from the start.
        assert loaded.memory.batch_size(engine_kind(jobs[0]), 512 * 512) <= BATCH // 2


def engine_kind(job: Any) -> Any:
    from sdcli.engine.loading.pipeline import memory_kind

    return memory_kind(job)


def test_an_image_that_does_not_fit_at_all_is_an_error_and_the_next_one_is_drawn() -> None:
    loaded = load("float16")
    large = job_on("float16", width=1024, height=1024, num_inference_steps=1)
    torch.cuda.empty_cache()
    with (
        gpu_memory(torch.cuda.memory_reserved() + 2**25),
        pytest.raises(DeviceError, match="out of memory on cuda") as caught,
    ):
        engine.generate_batch(loaded, [large])
    assert "use a smaller --size" in str(caught.value.hint)
    [drawn] = draw(loaded, job_on("float16"))
    assert drawn.std() > 0


def test_a_vae_that_does_not_fit_goes_on_in_smaller_pieces() -> None:
    loaded = load("float32")
    pipeline = loaded.pipeline
    latents = torch.randn((4, 4, 64, 64), generator=torch.Generator().manual_seed(1)).to(DEVICE)
    whole, events = decode_latents(pipeline, latents, tiling="off")
    assert events == []
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    decode_latents(pipeline, latents[:1], tiling="off")
    of_one = torch.cuda.max_memory_reserved()
    with gpu_memory(of_one + 2**24):
        pieces, events = decode_latents(pipeline, latents)
    assert events[0] == "VAE: out of memory, one image at a time"
    assert psnr(whole[0], pieces[0]) > 25


def test_a_vae_that_overflows_in_float16_is_run_in_float32(pipelines: dict[str, Any]) -> None:
    pipeline = copy.copy(pipelines["float16"].pipeline)
    pipeline.vae = copy.deepcopy(pipeline.vae)
    # Its group normalization divides by the scale again, where that is a number.
    weight = pipeline.vae.decoder.conv_in.weight
    with torch.no_grad():
        weight.copy_(weight.float() * (60000 / float(weight.abs().max())))
    latents = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(1))
    pixels, events = decode_latents(pipeline, latents.to(DEVICE, torch.float16))
    assert events == ["VAE: not finite in float16, decoded in float32"]
    assert pixels.std() > 0
    assert pipeline.vae.dtype == torch.float16


@pytest.mark.parametrize("rung", RUNGS)
def test_a_model_in_main_memory_draws_the_same(pipelines: dict[str, Any], rung: str) -> None:
    loaded = load("float16")
    job = job_on("float16", offload=rung)
    [expected] = draw(pipelines["float16"], job_on("float16"))
    for _ in range(2):
        [result] = engine.generate_batch(loaded, [job])
        assert psnr(result.pixels, expected) > 50
        assert result.run.offload == (None if rung == "none" else rung)
    on_gpu = {p.device.type for p in loaded.pipeline.unet.parameters()} == {DEVICE}
    assert on_gpu == (rung == "none")


def test_each_rung_uses_less_memory() -> None:
    loaded, peaks = load("float32"), []
    for rung in RUNGS:
        job = job_on("float32", offload=rung, num_inference_steps=2)
        engine.generate_batch(loaded, [job])
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        engine.generate_batch(loaded, [job])
        peaks.append(torch.cuda.max_memory_allocated())
    assert peaks[0] > peaks[1] > peaks[2] >= peaks[3]


def test_a_full_gpu_takes_a_lower_rung_and_draws_the_same() -> None:
    loaded, job = load("float32"), job_on("float32", num_inference_steps=2)
    of_one, [alone] = peak_of(loaded, [job])
    loaded.placement.forget()
    with gpu_memory(of_one - 2**22):
        [result] = engine.generate_batch(loaded, [job])
    assert result.run.offload in RUNGS[1:]
    assert "out of memory on cuda" in result.events[0]
    assert psnr(result.pixels, alone) > 50


def test_vram_is_a_limit() -> None:
    loaded, job = load("float16"), job_on("float16", num_inference_steps=2, vram=2.0)
    engine.generate_batch(loaded, [job])
    with pytest.raises(torch.OutOfMemoryError):
        torch.empty(3 * 2**30, dtype=torch.uint8, device=DEVICE)
    engine.generate_batch(loaded, [replace(job, vram=None)])
    torch.empty(3 * 2**30, dtype=torch.uint8, device=DEVICE)


def test_a_compiled_unet_draws_the_same_and_again_uncompiled(pipelines: dict[str, Any]) -> None:
    pytest.importorskip("triton")
    job = job_on("float16")
    [expected] = draw(pipelines["float16"], job)
    [result] = engine.generate_batch(pipelines["float16"], [replace(job, compile=True)])
    assert result.run.compiled
    assert psnr(result.pixels, expected) > 35
    [again] = draw(pipelines["float16"], job)
    assert psnr(again, expected) > 50


@pytest.mark.parametrize("rung", RUNGS)
def test_weights_of_8_bits_are_moved_and_converted(rung: str) -> None:
    spec = replace(CPU, device=DEVICE, dtype="float16", weights_dtype="fp8")
    loaded = engine.load(spec)
    [drawn] = draw(loaded, job_on("float16", spec=spec, offload=rung))
    by_cpu = replace(CPU, weights_dtype="fp8")
    [expected] = draw(engine.load(by_cpu), make_job(spec=by_cpu, num_inference_steps=8))
    assert psnr(drawn, expected) > 25
