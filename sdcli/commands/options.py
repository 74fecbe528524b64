"""Every option that means the same everywhere, once; and the values that are more than one word."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from typing import Annotated, Literal

import typer

from sdcli.catalog.samplers import SAMPLERS
from sdcli.dump import LatentsWanted
from sdcli.errors import UsageError
from sdcli.prompts import formats
from sdcli.request import DTYPES, SHORT_DTYPES, PipelineSpec
from sdcli.watching import Watching

ReportForm = Literal["paths", "json", "jsonl"]


def complete_scheduler(incomplete: str) -> list[str]:
    """The sampler names that begin so."""
    return [row.name for row in SAMPLERS if row.name.lower().startswith(incomplete.lower())]


Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="Hub id or folder of a Stable Diffusion model.",
        metavar="MODEL",
    ),
]
Vae = Annotated[
    str | None,
    typer.Option(
        "--vae",
        help="Another VAE: a name of `sdcli vae list`, a hub id, a folder or a .safetensors file.",
        metavar="VAE",
    ),
]
ForceVae = Annotated[
    bool, typer.Option("--force-vae", help="Take a VAE made for another model's latents.")
]
VaeTiling = Annotated[
    Literal["auto", "on", "off"] | None,
    typer.Option(
        "--vae-tiling", help="Decode in tiles: auto when memory runs out.", metavar="auto|on|off"
    ),
]
Variant = Annotated[
    str | None, typer.Option("--variant", help="Which weight files to take, as in fp16.")
]
Scheduler = Annotated[
    str | None,
    typer.Option(
        "--scheduler",
        "-s",
        help="Any name of A1111, ComfyUI, InvokeAI or Diffusers, with its schedule: "
        "'DPM++ 2M Karras', dpmpp_2m_k, EulerDiscreteScheduler; options after it: "
        "'euler;timestep_spacing=trailing'.",
        autocompletion=complete_scheduler,
    ),
]
Steps = Annotated[int | None, typer.Option("--steps", help="Denoising steps.")]
Guidance = Annotated[
    float | None,
    typer.Option("--guidance", "-g", help="How hard to follow the prompt; 1 and below is not."),
]
GuidanceRescale = Annotated[
    float | None,
    typer.Option("--guidance-rescale", help="0 to 1: tame the contrast of a high guidance."),
]
Eta = Annotated[
    float | None,
    typer.Option("--eta", help="0 to 1: noise that DDIM or TCD adds at every step."),
]
ClipSkip = Annotated[
    int | None,
    typer.Option("--clip-skip", help="Last text encoder layers to skip (A1111's number minus 1)."),
]
Negative = Annotated[
    str | None, typer.Option("--negative", "-n", help="What the picture should not show.")
]
Size = Annotated[str | None, typer.Option("--size", metavar="WxH", help="Pixels, as in 512x768.")]
Seed = Annotated[
    int | None, typer.Option("--seed", help="Image i of a prompt uses SEED + i; drawn if left out.")
]
Count = Annotated[int, typer.Option("--count", help="Images of each prompt.")]
Dtype = Annotated[
    str | None,
    typer.Option(
        "--dtype", help="float32, float16 or bfloat16; by the device if left out.", metavar="DTYPE"
    ),
]
Device = Annotated[
    str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.", metavar="DEVICE")
]
Out = Annotated[
    str,
    typer.Option(
        "--out",
        "-o",
        help="A folder, an image file (numbered when there are several), or - for stdout.",
        metavar="PATH",
    ),
]
Format = Annotated[
    Literal["tar"] | None,
    typer.Option("--format", help="tar: several images on stdout (--out -) as one archive."),
]
Redo = Annotated[bool, typer.Option("--redo", help="Make what is done already again.")]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Try again what failed before.")]
BatchSize = Annotated[
    str,
    typer.Option(
        "--batch-size",
        help="Images denoised together: 1 is exact, more is faster and equal to rounding.",
        metavar="N|auto",
    ),
]
InputFormat = Annotated[
    formats.Format | None,
    typer.Option("--input-format", help="What the files are, where their names do not say it."),
]
KeepGoing = Annotated[
    bool, typer.Option("--keep-going", help="Leave out entries that are wrong; exit code 9.")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print what would be drawn, and draw nothing.")
]
SaveLatents = Annotated[
    str | None,
    typer.Option(
        "--save-latents",
        metavar="WHICH",
        help="Write latents beside each image: final, all, every:N or steps:1,5,9.",
    ),
]
LatentsKinds = Annotated[
    str | None,
    typer.Option(
        "--latents-kinds",
        metavar="KINDS",
        help="What of these steps: any of xt,x0,eps,noise; left out, all (of final: xt).",
    ),
]
Preview = Annotated[
    bool,
    typer.Option(
        "--preview", help="Show pictures in the terminal while they form: the x0 of every step."
    ),
]
PreviewOut = Annotated[
    str | None,
    typer.Option(
        "--preview-out",
        metavar="FILE",
        help="Keep the newest preview in an image file that is always whole.",
    ),
]
PreviewVae = Annotated[
    str | None,
    typer.Option(
        "--preview-vae",
        metavar="VAE",
        help="Look through a VAE, as in tiny; left out, a quick linear look.",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite what exists.")]
Offline = Annotated[bool, typer.Option("--offline", help="Use the network for nothing.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
JsonLines = Annotated[bool, typer.Option("--jsonl", help="Print a JSON line an event.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]
Verbose = Annotated[
    int, typer.Option("--verbose", "-v", count=True, help="Say more.", show_default=False)
]
NoMetadata = Annotated[
    bool, typer.Option("--no-metadata", help="Leave the record out of the image.")
]
Sidecar = Annotated[
    bool, typer.Option("--sidecar", help="Write the record beside the image, too, as .json.")
]


def parse_size(text: str | None) -> tuple[int | None, int | None]:
    """ "512x768" to (width, height)."""
    if text is None:
        return None, None
    if not (match := re.fullmatch(r"(\d+)[x×X](\d+)", text.strip())):
        raise UsageError(
            f"--size: {text!r} is not WIDTHxHEIGHT", code="usage.size", hint="as in --size 512x768"
        )
    return int(match[1]), int(match[2])


def parse_batch_size(text: str) -> int | None:
    """ "auto" to None, else a whole number of at least 1."""
    if text == "auto":
        return None
    if not (text.isascii() and text.isdigit() and int(text) >= 1):
        raise UsageError(
            f"--batch-size: {text!r} is neither a whole number above 0 nor auto",
            code="usage.batch_size",
        )
    return int(text)


def parse_dtype(text: str | None) -> str | None:
    """A dtype's long name; fp16, bf16 and fp32 are understood."""
    dtype = SHORT_DTYPES.get(text, text) if text else text
    if dtype is not None and dtype not in DTYPES:
        raise UsageError(f"--dtype: {text!r} is not one of {', '.join(DTYPES)}", code="usage.dtype")
    return dtype


def spec(
    model: str,
    vae: str | None,
    variant: str | None,
    dtype: str | None,
    device: str,
    offline: bool,
    force_vae: bool = False,
) -> PipelineSpec:
    """What the options of a pipeline ask to load."""
    return PipelineSpec(
        model=model,
        vae=vae,
        variant=variant,
        dtype=parse_dtype(dtype),
        device=device,
        offline=offline,
        force_vae=force_vae,
    )


def parse_latents(which: str | None, kinds: str | None) -> LatentsWanted | None:
    """--save-latents and --latents-kinds. Raises UsageError."""
    if which is None and kinds is not None:
        raise UsageError(
            "--latents-kinds does nothing without --save-latents",
            code="usage.latents_kinds",
            hint="add --save-latents all",
        )
    return None if which is None else LatentsWanted.parse(which, kinds)


def parse_preview(terminal: bool, out: str | None, vae: str | None, quiet: bool) -> Watching | None:
    """--preview, --preview-out and --preview-vae. Raises UsageError for what could not be seen."""
    if terminal and (quiet or not sys.stderr.isatty()):
        why = "--quiet leaves stderr empty" if quiet else "stderr is no terminal"
        raise UsageError(
            f"--preview: {why}", code="usage.preview", hint="use --preview-out now.png"
        )
    if terminal or out is not None:
        return Watching(terminal=terminal, out=out, vae=vae)
    if vae is not None:
        raise UsageError(
            "--preview-vae does nothing alone", code="usage.preview", hint="add --preview"
        )
    return None


def report_form(json: bool, jsonl: bool) -> ReportForm:
    """What stdout is to carry."""
    if json and jsonl:
        raise UsageError("--json and --jsonl exclude each other", code="usage.json")
    return "json" if json else "jsonl" if jsonl else "paths"


def again(redo: bool, retry_failed: bool) -> Literal["failed", "all"] | None:
    """Which jobs of a batch are made though the journal has them."""
    return "all" if redo else "failed" if retry_failed else None


def show(content: Mapping[str, object], json: bool) -> None:
    """Print a JSON document, or facts for people."""
    if json:
        from sdcli.output import events

        events.emit(content)
    else:
        from sdcli.output import tables

        tables.show(content)


def show_path(path: str, schema: str, jsonl: bool) -> None:
    """Print the path of a file that is no image of the run, as text or as a JSON line."""
    if jsonl:
        show({"schema": schema, "path": path}, json=True)
    else:
        print(path, flush=True)


def verbosity(quiet: bool, verbose: int) -> int:
    """-1 for quiet, else how often -v was said."""
    if quiet and verbose:
        raise UsageError("--quiet and --verbose contradict each other", code="usage.quiet")
    return -1 if quiet else verbose


def drawn_seed(seed: int | None) -> int:
    """The seed that was given, else one drawn for this run."""
    return int.from_bytes(os.urandom(4), "big") if seed is None else seed
