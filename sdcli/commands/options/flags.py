"""Single options, for commands that do not take their whole group."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from sdcli.commands.options.completion import complete_scheduler
from sdcli.commands.options.typer_options import group_option, to_option
from sdcli.request import REQUEST_FIELDS, SIZE_INFO
from sdcli.run_flags import ImageFlags, MessageFlags, OutputFlags, ReportFlags


def _field(name: str, **more: Any) -> Any:
    return to_option(REQUEST_FIELDS[name], **more)


Model = Annotated[str, _field("model")]
Vae = Annotated[str | None, _field("vae")]
ForceVae = Annotated[bool, _field("force_vae")]
VaeTiling = Annotated[Literal["auto", "on", "off"] | None, _field("vae_tiling")]
Variant = Annotated[str | None, _field("variant")]
Dtype = Annotated[str | None, _field("dtype")]
Device = Annotated[str, _field("device")]
Backend = Annotated[str | None, _field("backend")]
Offline = Annotated[bool, _field("offline")]
Scheduler = Annotated[str | None, _field("scheduler", autocompletion=complete_scheduler)]
Steps = Annotated[int | None, _field("num_inference_steps")]
Guidance = Annotated[float | None, _field("guidance_scale")]
GuidanceSchedule = Annotated[str | None, _field("guidance_schedule")]
GuidanceFrom = Annotated[float | None, _field("guidance_from")]
GuidanceTo = Annotated[float | None, _field("guidance_to")]
GuidanceEvery = Annotated[int | None, _field("guidance_every")]
Pag = Annotated[float | None, _field("pag_scale")]
Draft = Annotated[bool, _field("draft")]
FeatureCache = Annotated[int | None, _field("feature_cache")]
Negative = Annotated[str | None, _field("negative_prompt")]
PromptSyntax = Annotated[Literal["a1111", "compel", "plain"] | None, _field("prompt_syntax")]
Size = Annotated[str | None, to_option(SIZE_INFO)]
Embedding = Annotated[list[str] | None, _field("embedding")]
EmbeddingDir = Annotated[str | None, _field("embedding_dir")]
Seed = Annotated[int | None, _field("seed")]
Count = Annotated[int, _field("count", min=1)]

Out = Annotated[str, group_option(OutputFlags, "out")]
Force = Annotated[bool, group_option(OutputFlags, "force")]
Json = Annotated[bool, group_option(ReportFlags, "json")]
JsonLines = Annotated[bool, group_option(ReportFlags, "jsonl")]
Quiet = Annotated[bool, group_option(MessageFlags, "quiet")]
Verbose = Annotated[int, group_option(MessageFlags, "verbose")]
Sidecar = Annotated[bool, group_option(ImageFlags, "sidecar")]
NoMetadata = Annotated[bool, group_option(ImageFlags, "no_metadata")]
BatchSize = Annotated[
    str,
    typer.Option(
        "--batch-size",
        help="Images denoised together: 1 is exact; more is faster, and identical up to "
        "floating-point rounding.",
        metavar="N|auto",
    ),
]
Inputs = Annotated[
    str | None,
    typer.Option(
        "--inputs",
        metavar="DIR",
        help="Folder of what was given as --image, --mask, --lora, --embedding, --controlnet, "
        "--control-image, --ip-adapter and --ip-image. Default: next to the image, then the "
        "current folder.",
        show_default=False,
    ),
]
