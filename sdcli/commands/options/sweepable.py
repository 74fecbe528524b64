"""The options that a prompt file can set too, as words: a list or a range of values sweeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from sdcli.commands.options.config_defaults import setting_source
from sdcli.commands.options.flags import complete_scheduler
from sdcli.errors import UsageError
from sdcli.prompts.expansion import RequestTemplate
from sdcli.prompts.field_values import flag_values, value_errors
from sdcli.prompts.sweep import PromptReplacement
from sdcli.prompts.wildcards import Wildcards

Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="Hub id or folder of a Stable Diffusion model; 'embedded' if left out.",
        metavar="MODEL",
    ),
]
Vae = Annotated[
    str | None,
    typer.Option(
        "--vae",
        help="Another VAE: hub id, folder, or 'tiny' for the model's small one.",
        metavar="VAE",
    ),
]
Variant = Annotated[
    str | None,
    typer.Option("--variant", help="Which weight files to take, as in fp16.", metavar="NAME"),
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        "--scheduler",
        "-s",
        help="Any name of A1111, ComfyUI, InvokeAI or Diffusers, with its schedule: "
        "'DPM++ 2M Karras', dpmpp_2m_k, EulerDiscreteScheduler; options after it: "
        "'euler;timestep_spacing=trailing'.",
        metavar="NAME",
        autocompletion=complete_scheduler,
    ),
]
Steps = Annotated[
    str | None,
    typer.Option(
        "--steps",
        help="Denoising steps. 10,20 or 10..30:5 sweeps, as with NAME and N below.",
        metavar="N",
    ),
]
Guidance = Annotated[
    str | None,
    typer.Option(
        "--guidance",
        "-g",
        help="How hard to follow the prompt; 1 and below is not.",
        metavar="N",
    ),
]
GuidanceRescale = Annotated[
    str | None,
    typer.Option(
        "--guidance-rescale", help="0 to 1: tame the contrast of a high guidance.", metavar="N"
    ),
]
Eta = Annotated[
    str | None,
    typer.Option("--eta", help="0 to 1: noise that DDIM or TCD adds at every step.", metavar="N"),
]
ClipSkip = Annotated[
    str | None,
    typer.Option(
        "--clip-skip",
        help="Last text encoder layers to skip (A1111's number minus 1).",
        metavar="N",
    ),
]
Seed = Annotated[
    str | None,
    typer.Option(
        "--seed", help="Image i of a prompt uses SEED + i; drawn if left out.", metavar="N"
    ),
]
Count = Annotated[
    str | None, typer.Option("--count", help="Images of each prompt; 1 if left out.", metavar="N")
]
Dtype = Annotated[
    str | None,
    typer.Option(
        "--dtype", help="float32, float16 or bfloat16; by the device if left out.", metavar="DTYPE"
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device", help="auto, cpu, cuda, cuda:N or mps; auto if left out.", metavar="DEVICE"
    ),
]
Replace = Annotated[
    list[str] | None,
    typer.Option(
        "--replace", help="Search and replace in prompts: cat=dog,fox makes two.", metavar="OLD=NEW"
    ),
]
WildcardFolder = Annotated[
    str | None,
    typer.Option(
        "--wildcards", help="Folder of lists: color.txt is __color__ in a prompt.", metavar="DIR"
    ),
]
WildcardMode = Annotated[
    Literal["random", "all"] | None,
    typer.Option(
        "--wildcard-mode",
        help="Fill {a|b}, {2$$a|b|c} and __name__ by the seed, or in every way. Without it and "
        "--wildcards they are drawn as they stand.",
    ),
]
Grid = Annotated[
    str | None,
    typer.Option(
        "--grid",
        help="Show two swept settings in one labelled picture, too: steps,scheduler.",
        metavar="X,Y",
    ),
]
_REQUEST_OPTIONS: Final = (
    "model",
    "vae",
    "force_vae",
    "vae_tiling",
    "variant",
    "scheduler",
    "steps",
    "guidance",
    "guidance_rescale",
    "eta",
    "clip_skip",
    "negative",
    "size",
    "seed",
    "count",
    "dtype",
    "device",
    "offline",
)


def request_options(arguments: Mapping[str, object]) -> dict[str, object]:
    """Those arguments of a command that are settings of a request."""
    return {name: arguments[name] for name in _REQUEST_OPTIONS}


def build_template(
    said: Mapping[str, object],
    context: typer.Context,
    replacements: Sequence[str] | None,
    folder: str | None,
    mode: Literal["random", "all"] | None,
) -> RequestTemplate:
    """What is said of every request: `said`, of which the context knows what was typed.

    Raises UsageError.
    """
    wildcards = None
    if folder is not None or mode is not None:
        path = None if folder is None else Path(folder).expanduser()
        wildcards = Wildcards(mode=mode or "random", folder=path)
    typed, settings = dict(said), {}
    for param in context.command.params:
        if param.name in typed and (source := setting_source(context, param)):
            settings[param.name] = _checked_setting(param.name, typed.pop(param.name), source)
    return RequestTemplate(
        flags=flag_values(typed),
        settings=flag_values(settings),
        replacements=[PromptReplacement.parse(text) for text in replacements or ()],
        wildcards=wildcards,
    )


def _checked_setting(name: str, value: object, source: str) -> object:
    """The value of a setting. Raises UsageError with its source for one that cannot be."""
    try:
        for error in value_errors(flag_values({name: value})).values():
            raise error
    except UsageError as error:
        raise UsageError(f"{source}: {error.message}", code=error.code, hint=error.hint) from error
    return value
