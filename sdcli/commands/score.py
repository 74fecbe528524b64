"""`sdcli score`: measure images."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from sdcli.commands.options import flags
from sdcli.commands.options.parsing import parse_verbosity

Images = Annotated[
    list[str], typer.Argument(metavar="IMAGE|DIR", help="Images, or folders of images.")
]
Reference = Annotated[
    str | None,
    typer.Option(
        "--reference",
        metavar="IMAGE",
        help="Also compare with this image: PSNR in dB, and SSIM.",
        show_default=False,
    ),
]
Clip = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="FOLDER",
        help="Also measure how well images fit their prompts with the CLIP model in this folder.",
        show_default=False,
    ),
]
DUPLICATE_DISTANCE = 4
Distance = Annotated[
    int | None,
    typer.Option(
        "--duplicate-distance",
        metavar="N",
        help="Bits of 64 in which the perceptual hashes of duplicates differ at most. Default: "
        f"{DUPLICATE_DISTANCE}.",
        show_default=False,
        min=0,
        max=64,
    ),
]
Sidecar = Annotated[
    bool,
    typer.Option("--sidecar", help="Also write the scores to the .json file next to each image."),
]


def score(
    images: Images,
    reference: Reference = None,
    model: Clip = None,
    duplicate_distance: Distance = None,
    sidecar: Sidecar = False,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Measure images: sharpness, duplicates, and whether they show what the prompt says.

    Whether the right objects are in the right places is only known for images of the built-in
    model; for others, a CLIP model gives a score. With --sidecar, `gallery` can sort by the scores.

    \b
    Examples:
      sdcli score outputs
      sdcli score outputs --sidecar
      sdcli score outputs/*.png --reference cat.png --json
    """
    from sdcli.checkpoints.clip_model import find_clip
    from sdcli.inputs.paths import expand_user
    from sdcli.storage.images import perceptual_hash
    from sdcli.storage.images.folder_images import find_images
    from sdcli.terminal.console import Console
    from sdcli.terminal.printing import print_document
    from sdcli.workflows.score_images import SCHEMA, Scorer, mark_duplicates, score_images

    console = Console(verbosity=parse_verbosity(quiet, 0))
    if not perceptual_hash.is_available():
        console.warn(
            "only identical images are found to be duplicates; "
            "for similar ones: pip install ImageHash"
        )
    scorer = Scorer(
        reference=expand_user(reference) if reference else None,
        clip=find_clip(expand_user(model)) if model else None,
        warn=console.warn,
    )
    scored = score_images(find_images(images), scorer)
    distance = DUPLICATE_DISTANCE if duplicate_distance is None else duplicate_distance
    mark_duplicates(scored, distance)
    if sidecar:
        _write_sidecars(scored)
    if json:
        document = {"schema": SCHEMA, "images": [image.to_dict() for image in scored]}
        print_document(document, json=True)
    else:
        _print_scores(scored)


def _write_sidecars(scored: list[Any]) -> None:
    from sdcli.storage.metadata.scores import write_scores

    for image in scored:
        record = image.info["record"]
        write_scores(image.path, image.finite_scores(), image.pixels_sha256, record)


def _print_scores(scored: list[Any]) -> None:
    from sdcli.terminal.tables import print_columns

    names = [name for name in scored[0].scores if any(i.scores[name] is not None for i in scored)]
    has_duplicates = any(image.duplicate_of for image in scored)
    rows = [
        [
            image.path,
            *(_format(image.scores[name]) for name in names),
            *([image.duplicate_of] if has_duplicates else []),
        ]
        for image in scored
    ]
    header = ["image", *(name.replace("_", " ") for name in names)]
    print_columns([*header, *(["duplicate of"] if has_duplicates else [])], rows)


def _format(value: float | None) -> str | None:
    return None if value is None else f"{value:.4g}"
