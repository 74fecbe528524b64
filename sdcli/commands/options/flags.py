"""Every option that means the same everywhere, once."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from sdcli.catalog.schedulers.samplers import SAMPLERS
from sdcli.prompts import formats

ReportForm = Literal["paths", "json", "jsonl"]


def complete_scheduler(incomplete: str) -> list[str]:
    """The names that begin so, of those that a shell takes as one word."""
    names = {n for row in SAMPLERS for n in (row.name, *row.aliases, row.class_name)}
    names |= {row.name.lower().replace(" ", "_") for row in SAMPLERS}
    return sorted(name for name in names if " " not in name and name.startswith(incomplete))


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
