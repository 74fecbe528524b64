"""`sdcli pick`: choose the best images by a score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from sdcli.commands.options import flags
from sdcli.commands.options.parsing import parse_verbosity
from sdcli.commands.options.typer_options import expand_groups
from sdcli.commands.score import DUPLICATE_DISTANCE, Distance, Images, Reference
from sdcli.errors import UsageError

By = Annotated[
    str,
    typer.Option(
        "--by",
        metavar="KEY",
        help="prompt_match, sharpness, saturation, psnr, ssim, rating, or a score in the .json "
        "files next to the images, such as clip_score.",
    ),
]
Top = Annotated[int, typer.Option("--top", metavar="N", help="Number of images.", min=1)]
Per = Annotated[
    str | None,
    typer.Option(
        "--per",
        metavar="SETTING",
        help="Pick as many for each value of a setting, e.g. prompt or scheduler.",
        show_default=False,
    ),
]
Lowest = Annotated[bool, typer.Option("--lowest", help="Pick the lowest values.")]
Unique = Annotated[
    bool, typer.Option("--unique", help="Leave out images that look like a better one.")
]
Ratings = Annotated[
    str | None,
    typer.Option(
        "--ratings",
        metavar="FILE",
        help="Ratings that a gallery saved as JSON, for --by rating.",
        show_default=False,
    ),
]
Folder = Annotated[
    str | None,
    typer.Option(
        "--out",
        "-o",
        metavar="DIR",
        help="Copy the images, and the .json files next to them, to this folder. Default: only "
        "print their paths.",
        show_default=False,
    ),
]
Link = Annotated[
    bool, typer.Option("--link", help="Make symbolic links in the folder instead of copies.")
]


@dataclass(frozen=True, kw_only=True)
class ChoiceFlags:
    """Which images are picked."""

    by: By
    top: Top = 10
    per: Per = None
    lowest: Lowest = False
    unique: Unique = False
    duplicate_distance: Distance = None

    @property
    def key(self) -> str:
        """The name of the score."""
        return self.by.replace("-", "_")

    @property
    def max_distance(self) -> int:
        """The distance of duplicates."""
        given = self.duplicate_distance
        return DUPLICATE_DISTANCE if given is None else given


@expand_groups
def pick(
    *,
    images: Images,
    choice: ChoiceFlags,
    reference: Reference = None,
    ratings: Ratings = None,
    out: Folder = None,
    link: Link = False,
    force: flags.Force = False,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Print, copy or link the best images of a folder.

    \b
    Examples:
      sdcli pick outputs --by sharpness --top 3
      sdcli pick outputs --by prompt_match --per prompt --top 1 -o best
      sdcli pick outputs --by rating --ratings ratings.json -o best --link
    """
    from sdcli.inputs.paths import expand_user, output_path
    from sdcli.storage.images.folder_images import find_images
    from sdcli.terminal.console import Console
    from sdcli.workflows.pick_images import PickOptions, collect_images, pick_images

    _check_effects(choice, reference, ratings)
    if out is None:
        _refuse_without("--out", {"--link": link, "--force": force}, hint="add -o DIR")
    _check_unique(choice.unique)
    options = PickOptions(
        key=choice.key,
        top=choice.top,
        per=choice.per,
        lowest=choice.lowest,
        unique=choice.unique,
        max_distance=choice.max_distance,
        reference=expand_user(reference) if reference else None,
        ratings=expand_user(ratings) if ratings else None,
        folders=tuple(path for path in map(expand_user, images) if path.is_dir()),
    )
    console = Console(verbosity=parse_verbosity(quiet, 0))
    picked = pick_images(find_images(images), options, console.warn)
    paths = [image.path for image in picked]
    if out is not None:
        paths = collect_images(picked, output_path(out), link=link, force=force)
    _print_picked(picked, paths, by=options.key, json=json)


def _check_effects(choice: ChoiceFlags, reference: str | None, ratings: str | None) -> None:
    """Raise UsageError for an option that would be ignored."""
    if not choice.unique:
        given = choice.duplicate_distance is not None
        _refuse_without("--unique", {"--duplicate-distance": given})
    if choice.key != "rating":
        _refuse_without("--by rating", {"--ratings": ratings is not None})
    if choice.key not in ("psnr", "ssim"):
        _refuse_without("--by psnr or --by ssim", {"--reference": reference is not None})


def _refuse_without(needed: str, given: dict[str, bool], hint: str | None = None) -> None:
    for option, is_given in given.items():
        if is_given:
            raise UsageError(
                f"{option} has no effect without {needed}",
                code=f"usage.{option[2:].replace('-', '_')}",
                hint=hint or f"add {needed}",
            )


def _check_unique(unique: bool) -> None:
    from sdcli.storage.images import perceptual_hash

    if unique and not perceptual_hash.is_available():
        raise UsageError(
            "--unique needs the package ImageHash",
            code="usage.unique",
            hint="pip install ImageHash",
        )


def _print_picked(picked: list[Any], paths: list[Any], *, by: str, json: bool) -> None:
    from sdcli.terminal.printing import print_document, print_path
    from sdcli.workflows.pick_images import SCHEMA

    if not json:
        for path in paths:
            print_path(str(path), json=False)
        return
    rows = [
        {
            "path": str(path),
            "source": str(image.path),
            "value": image.value,
            "group": image.group,
            "rank": image.rank,
        }
        for image, path in zip(picked, paths, strict=True)
    ]
    print_document({"schema": SCHEMA, "by": by, "images": rows}, json=True)
