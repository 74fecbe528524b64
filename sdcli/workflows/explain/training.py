"""Explain the training pair: noise is added to an image, and the model predicts it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sdcli.errors import UsageError
from sdcli.numerics.prediction import centred, distance, length
from sdcli.prompts.sources import IterableSource
from sdcli.request import GenerationRequest
from sdcli.result import GenerationResult, JobFailure
from sdcli.runner.loop import iter_results
from sdcli.runner.pipeline_cache import engine_lock
from sdcli.workflows.measure_attention import picture_renderer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from sdcli.latents import LatentsRenderer

# Training draws one; the mean of a few makes curves that can be compared.
NOISES: Final = 4
_STEPS: Final = 2
_LEAST: Final = 0.02


@dataclass(frozen=True, kw_only=True)
class TrainingErrors:
    """The mean errors at a timestep.

    `noise` is the squared error of the noise as a part of its own square, `image` that of x_0 as a
    part of the variance of the image's latents, both 0 for a perfect prediction.
    """

    timestep: int
    signal: float
    noise: float
    image: float


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingPair:
    """What was measured on an image. `noisy` and `predicted` are latents, one at each timestep."""

    name: str
    caption: str
    seed: int
    prediction_type: str
    pixels: NDArray[np.uint8]
    latents: NDArray[Any]
    errors: Sequence[TrainingErrors]
    noisy: Sequence[NDArray[Any]]
    predicted: Sequence[NDArray[Any]]
    render: LatentsRenderer


def measure_pair(
    image: Path, request: GenerationRequest, warn: Callable[[str], None]
) -> TrainingPair:
    """Add noise to an image at ten timesteps, and let the model of a request predict it.

    The request's prompt is the caption; the image is cropped to its size. Raises UsageError for a
    request that has an image of its own, and the errors of reading and encoding.
    """
    request = _prepare(request)
    latents, pixels = _encode(image, request, warn)
    recorders: list[Any] = []

    def make_recorder(run: Any) -> Any:
        from sdcli.engine.recorders.training_pair import TrainingRecorder

        timesteps = training_timesteps(int(run.scheduler.config.num_train_timesteps))
        seed = run.runs[0].job.seed
        recorders.append(TrainingRecorder(run, latents, timesteps, noises=NOISES, seed=seed))
        return recorders[-1]

    result = _run(request, make_recorder, warn)
    predictions = recorders[-1].predictions
    first = [predictions[i] for i in range(0, len(predictions), NOISES)]
    return TrainingPair(
        name=image.name,
        caption=request.prompt,
        seed=result.job.seed,
        prediction_type=recorders[-1].prediction_type,
        pixels=pixels,
        latents=latents,
        errors=[
            _mean_errors(predictions[i : i + NOISES], latents)
            for i in range(0, len(predictions), NOISES)
        ],
        noisy=[each.noisy for each in first],
        predicted=[each.x0 for each in first],
        render=picture_renderer(result, warn),
    )


def training_timesteps(trained: int) -> tuple[int, ...]:
    """Return ten timesteps: one with little noise, the tenths between, and the last.

    >>> training_timesteps(1000)[:3]
    (20, 100, 200)
    """
    return (round(_LEAST * trained), *(trained * i // 10 for i in range(1, 10)), trained - 1)


def read_caption(image: Path) -> str:
    """Return the prompt in the record of an image, "" without one."""
    from sdcli.storage.images.codec import read_image_info

    record = read_image_info(image, with_hash=False)["record"] or {}
    return str(record.get("request", {}).get("prompt") or "")


def _prepare(request: GenerationRequest) -> GenerationRequest:
    """The shortest run of the request: only its first UNet call is needed."""
    for option, value in (("--image", request.image), ("--hires", request.hires)):
        if value:
            raise UsageError(
                f"{option} can't be used with --training", code="usage.training"
            )  # fmt: skip
    if request.spec.refiner:
        # It would be loaded for nothing.
        spec = replace(request.spec, refiner=None, refiner_config=None)
        request = replace(request, spec=spec, refiner_at=None, aesthetic_score=None)
    return replace(request, count=1, num_inference_steps=_STEPS)


def _encode(
    image: Path, request: GenerationRequest, warn: Callable[[str], None]
) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    from sdcli.checkpoints.refiner import fetch_defaults
    from sdcli.planning.resolve import resolve_jobs
    from sdcli.storage.images.fitting import fit
    from sdcli.storage.images.pixels import read_pixels

    # Before torch is imported, which takes long.
    pixels, notes = read_pixels(image)
    [job] = resolve_jobs(request, fetch_defaults(request.spec), 0)
    from sdcli import engine
    from sdcli.engine.vae.encode import encode_image

    with engine_lock():
        vae = engine.load_vae(job.spec)
        fitted = fit(pixels, job.width, job.height, "crop", vae.facts.vae_scale_factor)
        latents, events = encode_image(vae, fitted.copy(), tiling=job.vae_tiling)
    for note in (*vae.notes, *notes, *events):
        warn(note)
    return latents, fitted


def _run(
    request: GenerationRequest, make_recorder: Any, warn: Callable[[str], None]
) -> GenerationResult:
    [outcome] = iter_results(IterableSource([request]), warn=warn, recorders=[make_recorder])
    if isinstance(outcome, JobFailure):
        raise outcome.error
    return outcome


def _mean_errors(predictions: Sequence[Any], latents: NDArray[Any]) -> TrainingErrors:
    # An image of one colour has no variance.
    variance = max(length(centred(latents).astype("float32")) ** 2, 1e-12)
    noise = [distance(p.eps, p.noise) ** 2 / length(p.noise) ** 2 for p in predictions]
    image = [distance(p.x0, latents) ** 2 / variance for p in predictions]
    return TrainingErrors(
        timestep=predictions[0].timestep,
        signal=predictions[0].signal,
        noise=sum(noise) / len(noise),
        image=sum(image) / len(image),
    )
