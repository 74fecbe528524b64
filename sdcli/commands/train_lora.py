"""`sdcli train-lora`: images with captions to a LoRA."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sdcli.commands.options import flags
from sdcli.commands.options.parsing import parse_dtype, parse_verbosity
from sdcli.commands.options.typer_options import expand_groups, to_option
from sdcli.lora_training import LoraTrainingFlags
from sdcli.pipeline_spec import PipelineSpec
from sdcli.request import REQUEST_FIELDS
from sdcli.run_flags import MessageFlags

if TYPE_CHECKING:
    from sdcli.terminal.console import Console
    from sdcli.terminal.progress import ProgressBar
    from sdcli.workflows.train_lora.run import TrainedLora, TrainingCallbacks

SCHEMA = "sdcli/trained-lora/1"

Folder = Annotated[
    str, typer.Argument(metavar="FOLDER", help="Folder of images, each with its caption.")
]
Out = Annotated[
    str,
    typer.Option(
        "--out", "-o", metavar="FILE", help="The LoRA, a .safetensors file.", show_default=False
    ),
]
SaveEvery = Annotated[
    int,
    typer.Option(
        "--save-every", metavar="N", help="Steps between two checkpoints.", min=1, max=10_000_000
    ),
]
SamplePrompts = Annotated[
    list[str] | None,
    typer.Option(
        "--sample-prompt",
        metavar="PROMPT",
        help="Draw this prompt with each checkpoint; may be repeated.",
    ),
]
Restart = Annotated[bool, typer.Option("--restart", help="Delete the checkpoint, and begin again.")]


@dataclass(frozen=True, kw_only=True)
class BaseModelFlags:
    """The model that the LoRA is for."""

    model: flags.Model = "embedded"
    vae: flags.Vae = None
    force_vae: flags.ForceVae = False
    variant: flags.Variant = None
    dtype: flags.Dtype = None
    device: flags.Device = "auto"
    model_config: Annotated[str | None, to_option(REQUEST_FIELDS["model_config"])] = None
    prediction_type: Annotated[str | None, to_option(REQUEST_FIELDS["prediction_type"])] = None
    offline: flags.Offline = False

    def spec(self) -> PipelineSpec:
        """The spec that the options ask for. Raises UsageError."""
        return PipelineSpec(**{**asdict(self), "dtype": parse_dtype(self.dtype)})


@expand_groups
def train_lora(
    *,
    folder: Folder,
    out: Out,
    training: LoraTrainingFlags,
    save_every: SaveEvery = 100,
    sample_prompts: SamplePrompts = None,
    base: BaseModelFlags,
    force: flags.Force = False,
    restart: Restart = False,
    json: flags.Json = False,
    messages: MessageFlags,
) -> None:
    """Train a LoRA on a folder of images with captions.

    The caption of cat.png is in cat.txt, or in the folder's metadata.jsonl or captions.csv. Images
    are scaled and cropped to squares. Checkpoints and samples are in a folder next to the LoRA;
    run the same command again to continue after Ctrl-C. Needs the package peft.

    \b
    Examples:
      sdcli train-lora photos -o toy.safetensors --trigger "mytoy"
      sdcli train-lora photos -o toy.safetensors --caption "a photo of mytoy" --save-every 50
      sdcli train-lora photos -o toy.safetensors -m sdxl.safetensors --batch-size 1
    """
    from sdcli.inputs.paths import expand_user, output_path
    from sdcli.terminal.console import Console
    from sdcli.workflows.train_lora.plan import TrainingRequest, plan_training
    from sdcli.workflows.train_lora.run import train_lora as train

    console = Console(verbosity=parse_verbosity(messages.quiet, messages.verbose))
    request = TrainingRequest(
        folder=expand_user(folder),
        out=output_path(out),
        spec=base.spec(),
        flags=training,
        save_every=save_every,
        sample_prompts=tuple(sample_prompts or ()),
        force=force,
        restart=restart,
    )
    plan = plan_training(request, console.warn)
    if plan.first_step:
        console.summary(f"continuing after step {plan.first_step} of {training.steps}")
    with console.progress(training.steps) as bar:
        bar.unit = "steps"
        bar.skip(plan.first_step)
        trained = train(plan, _callbacks(bar, console))
    _report(trained, len(plan.dataset.images), plan.folder.path, console, json=json)


def _callbacks(bar: ProgressBar, console: Console) -> TrainingCallbacks:
    from sdcli.workflows.train_lora.run import TrainingCallbacks

    def on_step(loss: float) -> None:
        bar.tell(f"loss {loss:.4f}")
        bar.advance(1)

    return TrainingCallbacks(
        on_start=bar.begin,
        on_step=on_step,
        warn=console.warn,
        on_deferred=lambda: console.warn(
            "finishing the step and saving a checkpoint; press Ctrl-C again to stop immediately"
        ),
    )


def _report(
    trained: TrainedLora, images: int, folder: Path, console: Console, *, json: bool
) -> None:
    from sdcli.terminal.printing import print_document, print_path
    from sdcli.terminal.progress import format_duration
    from sdcli.workflows.train_lora.loss import ends

    first, last, count = ends(trained.losses)
    # stdout has one path, so that it can be given to another command.
    if json:
        print_document(_document(trained, images, folder), json=True)
    else:
        print_path(str(trained.path), json=False)
    tenth = f"{count} steps" if count > 1 else "step"
    console.summary(
        f"{len(trained.losses)} steps on {images} images in {format_duration(trained.seconds)}; "
        f"mean loss {first:.4f} in the first {tenth}, {last:.4f} in the last ({trained.plot})"
    )


def _document(trained: TrainedLora, images: int, folder: Path) -> dict[str, Any]:
    from sdcli.workflows.train_lora.loss import ends, smooth

    first, last, count = ends(trained.losses)
    return {
        "schema": SCHEMA,
        "path": str(trained.path),
        "images": images,
        "steps": len(trained.losses),
        "resumed_from": trained.first_step,
        "loss": {"first": first, "last": last, "steps": count},
        "losses": [{"step": step, "loss": loss} for step, loss in smooth(trained.losses)],
        "plot": str(trained.plot),
        "samples": [str(path) for path in trained.samples],
        "checkpoint": str(folder),
        "seconds": round(trained.seconds, 3),
    }
