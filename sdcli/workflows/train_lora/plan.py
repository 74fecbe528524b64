"""Check everything that a training needs before anything large is loaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from sdcli.checkpoints.fingerprint import fingerprint
from sdcli.checkpoints.model_defaults import ModelDefaults
from sdcli.checkpoints.refiner import fetch_defaults
from sdcli.errors import ModelError, UsageError
from sdcli.fields.lora import LoraUse, format_loras
from sdcli.fields.prompt import PLAIN
from sdcli.job import Job
from sdcli.lora_training import LoraSettings, LoraTrainingFlags, choose_settings
from sdcli.pipeline_spec import PipelineSpec
from sdcli.planning.planner import Planner
from sdcli.planning.resolve import random_seed
from sdcli.request import GenerationRequest
from sdcli.shard import is_launched
from sdcli.storage import files
from sdcli.storage.weights_file import check_target
from sdcli.workflows.train_lora.checkpoint import TrainingFolder
from sdcli.workflows.train_lora.dataset import Dataset, find_captioned, read_dataset
from sdcli.workflows.train_lora.loss import plot_path
from sdcli.workflows.train_lora.metadata import describe_lora

_SUFFIX: Final = ".safetensors"
_LEARNING_RATE: Final = 1e-4
_SMALL_LEARNING_RATE: Final = 1e-3
"""The embedded model, a hundred times smaller than others, learns with larger steps."""


@dataclass(frozen=True, kw_only=True)
class TrainingRequest:
    """What a training is asked to do.

    `save_every` is the number of steps between two checkpoints. With `restart`, a checkpoint on
    disk is not used.
    """

    folder: Path
    out: Path
    spec: PipelineSpec
    flags: LoraTrainingFlags
    save_every: int
    sample_prompts: tuple[str, ...] = ()
    force: bool = False
    restart: bool = False


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """A training with everything chosen. `jobs` have the captions, `samples` are to be drawn.

    `first_step` is the number of steps that are done.
    """

    request: TrainingRequest
    settings: LoraSettings
    defaults: ModelDefaults
    fingerprint: str
    dataset: Dataset
    jobs: tuple[Job, ...]
    samples: tuple[GenerationRequest, ...]
    folder: TrainingFolder
    first_step: int

    def metadata(self, step: int) -> dict[str, str]:
        """Return the metadata of the LoRA after a step."""
        return describe_lora(
            self.request.out,
            step,
            spec=self.request.spec,
            defaults=self.defaults,
            fingerprint=self.fingerprint,
            settings=self.settings,
            dataset=self.dataset,
            trigger=self.request.flags.trigger,
        )


def plan_training(request: TrainingRequest, warn: Callable[[str], None]) -> TrainingPlan:
    """Check the images, the model and the place of the files.

    Raises UsageError, CorruptError, OutputError and ModelError.
    """
    _check_environment()
    _check_out(request)
    captioned = find_captioned(request.folder, request.flags.caption)
    defaults = fetch_defaults(request.spec)
    _check_model(defaults, request.spec)
    # Only the embedded model lists its words.
    is_small = defaults.words is not None
    folder = TrainingFolder.next_to(request.out)
    settings = choose_settings(
        request.flags,
        width=defaults.width,
        learning_rate=_SMALL_LEARNING_RATE if is_small else _LEARNING_RATE,
        seed=_seed(request, folder),
    )
    dataset = read_dataset(
        request.folder,
        captioned,
        trigger=request.flags.trigger,
        resolution=settings.resolution,
        warn=warn,
    )
    prints = fingerprint(request.spec)
    identity = {**settings.to_dict(), "images": dataset.sha256, "model": prints}
    folder = folder.of_training(identity)
    first_step = 0 if request.restart else folder.find_step()
    if first_step > request.flags.steps:
        raise _too_many_steps_error(request, first_step)
    samples = tuple(_sample(prompt, request, settings) for prompt in request.sample_prompts)
    jobs = _plan_jobs(dataset, request.spec, samples, settings)
    files.prepare_folder(folder.path)
    return TrainingPlan(
        request=request,
        settings=settings,
        defaults=defaults,
        fingerprint=prints,
        dataset=dataset,
        jobs=jobs,
        samples=samples,
        folder=folder,
        first_step=first_step,
    )


def _check_environment() -> None:
    if find_spec("peft") is None:
        raise UsageError(
            "train-lora needs the package peft", code="usage.package", hint="pip install peft"
        )
    if is_launched():
        raise UsageError(
            "train-lora trains in one process, on one device, and a launcher has started several",
            code="usage.shard",
            hint="start it without torchrun, and choose the device with --device",
        )


def _check_out(request: TrainingRequest) -> None:
    out = request.out
    if out.suffix.lower() != _SUFFIX:
        raise UsageError(
            f"--out {out}: a LoRA is a {_SUFFIX} file",
            code="usage.out",
            hint="e.g. --out my.safetensors",
        )
    # A resumed training would take the samples for images to learn.
    if out.absolute().parent.resolve().is_relative_to(request.folder.resolve()):
        raise UsageError(
            f"--out {out}: it is in the folder of the images, and so would be the pictures that "
            "the training draws",
            code="usage.out",
            hint="choose another folder for it",
        )
    check_target(out, 0, force=request.force)
    has_checkpoint = TrainingFolder.next_to(out).state_file.exists()
    # The plot of the training that is continued is replaced; any other is somebody's.
    check_target(plot_path(out), 0, force=request.force or request.restart or has_checkpoint)


def _check_model(defaults: ModelDefaults, spec: PipelineSpec) -> None:
    is_refiner = defaults.xl is not None and defaults.xl.takes_aesthetic_score
    if defaults.is_inpainting or is_refiner:
        kind = "a refiner" if is_refiner else "an inpainting model"
        raise ModelError(
            f"{spec.model} is {kind}; a LoRA is trained on a text-to-image model",
            code="model.family",
            hint="train it on the base model; it works with the inpainting model of its family",
        )


def _seed(request: TrainingRequest, folder: TrainingFolder) -> int:
    """Return a random seed, or the one of the training that is continued."""
    known = None if request.restart else folder.find_seed()
    return random_seed() if known is None else known


def _sample(prompt: str, request: TrainingRequest, settings: LoraSettings) -> GenerationRequest:
    return GenerationRequest(
        prompt=prompt,
        spec=request.spec,
        width=settings.resolution,
        height=settings.resolution,
        seed=settings.seed,
        # Its text is read here: a name with a semicolon in it would be two LoRAs.
        lora=format_loras([LoraUse(name=str(request.out))]),
    )


def _plan_jobs(
    dataset: Dataset,
    spec: PipelineSpec,
    samples: Sequence[GenerationRequest],
    settings: LoraSettings,
) -> tuple[Job, ...]:
    """Return a job for each caption, and check the samples as well."""
    captions = [
        GenerationRequest(
            prompt=image.caption,
            prompt_syntax=PLAIN,
            spec=spec,
            width=settings.resolution,
            height=settings.resolution,
            seed=0,
        )
        for image in dataset.images
    ]
    # Words that the model does not know are what it is to learn.
    planner = Planner(lambda text: None)
    planner.plan(replace(sample, lora=None) for sample in samples)
    return tuple(planner.plan(captions))


def _too_many_steps_error(request: TrainingRequest, done: int) -> UsageError:
    return UsageError(
        f"--steps: {request.flags.steps}, but {done} are done already",
        code="usage.steps",
        hint=f"give at least --steps {done}, or --restart to begin again",
    )
