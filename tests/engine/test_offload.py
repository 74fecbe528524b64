"""Models that are kept in main memory draw what they draw on the device, bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from sdcli import engine
from sdcli.catalog.schedulers.resolve import SchedulerConfig
from sdcli.checkpoints.file_hashes import sha256
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.errors import DeviceError, UsageError
from sdcli.fields.execution import RUNGS
from sdcli.job import Job
from sdcli.planning.offload import GIBIBYTE
from tests.controlnets import make_controlnet
from tests.engine.input_jobs import by_hand
from tests.engine.second_device import SecondDevice
from tests.engine.test_control_oracle import controlled, pixels_for
from tests.engine.test_ip_adapter_oracle import pictures, prompted, write_all
from tests.engine.xl.hand_calls import xl_job
from tests.jobs import CPU, make_job
from tests.loras import write_kohya
from tests.xl_models import write_refiner, write_xl_model

LOWER = RUNGS[1:]
SPEC = replace(CPU, device="cuda")
JOB = make_job(
    num_inference_steps=2,
    scheduler=SchedulerConfig(
        class_name="DDIMScheduler", config=(("timestep_spacing", "trailing"),)
    ),
    spec=SPEC,
)
FULL = torch.OutOfMemoryError("CUDA out of memory")


class Gpu:
    """A pipeline on an emulated GPU."""

    def __init__(self, spec: Any = SPEC) -> None:
        self.device = SecondDevice()
        with self.device.visible():
            self.loaded = engine.load(spec)

    def draw(self, job: Job, **more: Any) -> Any:
        """Draw one image."""
        with self.device:
            [result] = engine.generate_batch(self.loaded, [job], **more)
        return result

    @contextmanager
    def calls_of(self, network: str, action: Callable[[int], None]) -> Iterator[None]:
        """Call `action` with the number of each call of a network, before it runs."""
        module = self.loaded.pipeline
        for name in network.split("."):
            module = getattr(module, name)
        counts = iter(range(1000))
        handle = module.register_forward_pre_hook(lambda module, args: action(next(counts)))
        try:
            yield
        finally:
            handle.remove()


@pytest.fixture(scope="module")
def gpu() -> Gpu:
    return Gpu()


@pytest.fixture(autouse=True)
def _start_at_the_top(request: pytest.FixtureRequest) -> None:
    if "gpu" in request.fixturenames:
        request.getfixturevalue("gpu").loaded.placement.forget()


@pytest.fixture(scope="module")
def expected(loaded: Any) -> Any:
    [result] = engine.generate_batch(loaded, [replace(JOB, spec=CPU)])
    return result.pixels


@pytest.fixture(scope="module")
def xl_spec(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A base model with its refiner."""
    folder = tmp_path_factory.mktemp("xl")
    base, refiner = write_xl_model(folder / "base"), write_refiner(folder / "refiner")
    return replace(CPU, model=str(base), refiner=str(refiner))


def fail(times: int) -> Callable[[int], None]:
    """Make the first calls run out of memory."""

    def action(call: int) -> None:
        if call < times:
            raise FULL

    return action


def test_the_image_is_that_of_the_cpu_in_less_and_less_memory(gpu: Gpu, expected: Any) -> None:
    peaks = []
    whole = sum(p.nbytes for p in gpu.loaded.pipeline.unet.parameters())
    for rung in RUNGS:
        gpu.device.peak = 0
        result = gpu.draw(replace(JOB, offload=rung))
        assert np.array_equal(result.pixels, expected)
        assert result.run.offload == (None if rung == "none" else rung)
        assert result.events == ()
        # Only what stays on the GPU is there after the run.
        assert (gpu.device.used > whole) == (rung == "none")
        peaks.append(gpu.device.peak)
    assert peaks == sorted(peaks, reverse=True)
    assert peaks[1] < 0.95 * peaks[0]
    assert peaks[2] < 0.7 * peaks[1]


def test_a_lower_rung_equals_what_diffusers_enables(expected: Any) -> None:
    """On the CPU itself, where Diffusers can be asked for two of them."""
    from diffusers import StableDiffusionPipeline

    for rung in ("model", "group"):
        pipeline = StableDiffusionPipeline.from_pretrained(
            EMBEDDED_FOLDER, dtype=torch.float32, safety_checker=None, requires_safety_checker=False
        )
        pipeline.set_progress_bar_config(disable=True)
        if rung == "model":
            pipeline.enable_model_cpu_offload(device="cpu")
        else:
            pipeline.enable_group_offload(torch.device("cpu"), offload_type="leaf_level")
        assert np.array_equal(np.asarray(by_hand(pipeline, replace(JOB, spec=CPU))), expected)


@pytest.fixture(scope="module")
def lora(loaded: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Job, Any]:
    """A job with a LoRA, and what it draws."""
    path = write_kohya(loaded.pipeline).save(tmp_path_factory.mktemp("lora") / "a.safetensors")
    job = replace(JOB, lora=f"{path}:0.7", lora_sha256=f"{sha256(path)}:0.7")
    [result] = engine.generate_batch(loaded, [replace(job, spec=CPU)])
    return job, result.pixels


@pytest.mark.sample(1)
@pytest.mark.parametrize("rung", LOWER)
def test_loras_reach_what_is_moved_and_leave_nothing_behind(
    gpu: Gpu, expected: Any, lora: tuple[Job, Any], rung: str
) -> None:
    job, changed = lora
    assert not np.array_equal(changed, expected)
    assert np.array_equal(gpu.draw(replace(job, offload=rung)).pixels, changed)
    assert np.array_equal(gpu.draw(replace(JOB, offload=rung)).pixels, expected)


@pytest.fixture(scope="module")
def guided(loaded: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Job, Any, Any]:
    """A job with a ControlNet and an IP-Adapter, their images, and what it draws."""
    folder = tmp_path_factory.mktemp("networks")
    make_controlnet(loaded.pipeline.unet).save_pretrained(folder / "edges")
    write_all(loaded.pipeline.unet, folder)
    job = prompted(replace(JOB, spec=CPU), CPU, folder, ["plus.safetensors"], "a.png")
    job = controlled(job, CPU, [folder / "edges"], ["edges.png:0.5"])
    images = {"controls": pixels_for(job), "image_prompts": pictures(job)}
    [result] = engine.generate_batch(loaded, [job], **images)
    return replace(job, spec=SPEC), images, result.pixels


@pytest.mark.sample(1)
@pytest.mark.parametrize("rung", LOWER)
def test_controlnets_and_ip_adapters_are_moved_too(
    gpu: Gpu, guided: tuple[Job, Any, Any], rung: str
) -> None:
    job, images, pixels = guided
    assert np.array_equal(gpu.draw(replace(job, offload=rung), **images).pixels, pixels)


def test_a_refiner_draws_the_same(xl_spec: Any) -> None:
    job = xl_job(num_inference_steps=3, refiner_at=0.6, seed=3, spec=xl_spec)
    [result] = engine.generate_batch(engine.load(xl_spec), [job])
    spec = replace(xl_spec, device="cuda")
    pair = Gpu(spec)
    for rung in LOWER:
        drawn = pair.draw(replace(job, spec=spec, offload=rung))
        assert np.array_equal(drawn.pixels, result.pixels)


def test_weights_of_8_bits_are_moved_as_they_are() -> None:
    spec = replace(CPU, weights_dtype="fp8")
    [result] = engine.generate_batch(engine.load(spec), [replace(JOB, spec=spec)])
    spec = replace(SPEC, weights_dtype="fp8")
    small = Gpu(spec)
    for rung in LOWER:
        drawn = small.draw(replace(JOB, spec=spec, offload=rung))
        assert np.array_equal(drawn.pixels, result.pixels)


def test_layers_that_a_feature_cache_skips_are_not_missed(gpu: Gpu, loaded: Any) -> None:
    job = replace(JOB, num_inference_steps=5, feature_cache=2)
    [result] = engine.generate_batch(loaded, [replace(job, spec=CPU)])
    assert np.array_equal(gpu.draw(replace(job, offload="group")).pixels, result.pixels)


@pytest.mark.parametrize("times", range(1, len(RUNGS)))
def test_a_full_device_takes_one_rung_after_the_other(gpu: Gpu, expected: Any, times: int) -> None:
    with gpu.calls_of("unet", fail(times)):
        result = gpu.draw(JOB)
    assert np.array_equal(result.pixels, expected)
    assert result.run.offload == RUNGS[times]
    assert [event.partition("--offload ")[2] for event in result.events] == [
        f"{rung})" for rung in RUNGS[1 : times + 1]
    ]
    if times > 1:
        return
    # The next image does not try again what did not fit.
    following = gpu.draw(JOB)
    assert following.run.offload == RUNGS[times]
    assert following.events == ()
    gpu.loaded.placement.forget()
    assert gpu.draw(JOB).run.offload is None


def test_a_real_limit_is_kept_to(expected: Any) -> None:
    gpu = Gpu()
    gpu.draw(JOB)
    gpu.device.limit = gpu.device.peak - 2**20
    gpu.loaded.placement.forget()
    # Without what an estimate would say of so small a GPU.
    gpu.loaded.placement.free_bytes = lambda device: 2**40
    result = gpu.draw(JOB)
    assert np.array_equal(result.pixels, expected)
    assert result.run.offload == "model"
    assert gpu.device.peak <= gpu.device.limit


@pytest.mark.parametrize(("offload", "more"), [("auto", ""), ("none", "leave --offload none out")])
def test_the_last_rung_ends_in_an_error(gpu: Gpu, expected: Any, offload: str, more: str) -> None:
    with (
        gpu.calls_of("unet", fail(1000)),
        pytest.raises(DeviceError, match="out of memory on cuda") as caught,
    ):
        gpu.draw(replace(JOB, offload=offload))
    assert str(caught.value.hint).startswith(more)
    assert "use a smaller --size" in str(caught.value.hint)
    assert np.array_equal(gpu.draw(replace(JOB, offload=offload)).pixels, expected)


def test_a_decoder_that_is_short_of_memory_gets_that_of_the_unet(gpu: Gpu, expected: Any) -> None:
    counts: list[int] = []
    with (
        gpu.calls_of("unet", counts.append),
        gpu.calls_of("vae.decoder", fail(1)),
    ):
        result = gpu.draw(JOB)
    assert np.array_equal(result.pixels, expected)
    assert len(counts) == JOB.num_inference_steps
    assert result.events == (
        "VAE: out of memory, with the other models moved to main memory (--offload model)",
    )
    assert gpu.draw(JOB).run.offload == "model"


@pytest.mark.sample(1)
@pytest.mark.parametrize("rung", LOWER)
def test_an_interrupted_run_leaves_a_pipeline_that_draws(
    gpu: Gpu, expected: Any, rung: str
) -> None:
    def interrupt(call: int) -> None:
        if call == 1:
            raise KeyboardInterrupt

    job = replace(JOB, offload=rung)
    with (
        gpu.calls_of("unet.mid_block", interrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        gpu.draw(job)
    assert np.array_equal(gpu.draw(job).pixels, expected)


def test_what_does_not_fit_by_the_estimate_is_offloaded_and_said() -> None:
    gpu = Gpu()
    gpu.loaded.placement.free_bytes = lambda device: GIBIBYTE // 2
    result = gpu.draw(JOB)
    assert result.run.offload == "sequential"
    [note, tiles] = result.events
    assert "64x64 needs about" in note
    assert "0.5 GiB: the models are moved to the GPU layer by layer (--offload sequential)" in note
    assert "in tiles" in tiles
    assert len(gpu.draw(replace(JOB, vae_tiling="off")).events) == 1


def test_vram_limits_the_process_and_the_estimate(expected: Any) -> None:
    gpu = Gpu()
    gpu.device.total = gpu.device.limit = 8 * GIBIBYTE
    assert gpu.draw(replace(JOB, vram=2.0)).run.offload is None
    assert gpu.device.limit == 2 * GIBIBYTE
    gpu.draw(JOB)
    assert gpu.device.limit == 8 * GIBIBYTE


def test_a_pipeline_with_another_vae_shares_what_is_placed(gpu: Gpu, expected: Any) -> None:
    job = replace(JOB, offload="group")
    gpu.draw(job)
    with gpu.device.visible():
        other = engine.load(replace(SPEC, vae="tiny"), like=gpu.loaded)
    with gpu.device:
        [result] = engine.generate_batch(other, [replace(job, spec=other.spec)])
    assert result.pixels.std() > 0
    assert np.array_equal(gpu.draw(job).pixels, expected)


@pytest.mark.parametrize("changes", [{"offload": "model"}, {"vram": 4.0}])
def test_a_cpu_refuses_what_has_no_effect(loaded: Any, changes: dict[str, Any]) -> None:
    job = make_job(spec=replace(CPU, device="auto"), **changes)
    with pytest.raises(UsageError, match="on the CPU the models are in main memory already"):
        engine.generate_batch(loaded, [job])
