"""Choose the best images by a score, and copy or link them."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sdcli.errors import OutputError, UsageError, did_you_mean
from sdcli.storage import companions, files
from sdcli.storage.text import printable
from sdcli.workflows.image_settings import read_settings
from sdcli.workflows.score_images import (
    CLIP_SCORE,
    METRICS,
    REFERENCE_METRICS,
    ScoredImage,
    Scorer,
    mark_duplicates,
    score_images,
)

SCHEMA: Final = "sdcli/picked/1"
RATINGS_SCHEMA: Final = "sdcli/ratings/1"
RATING: Final = "rating"
_EXACT: Final = 0


@dataclass(frozen=True, kw_only=True)
class PickOptions:
    """Which images are picked: the `top` highest of `key`, or `lowest`, of each group `per`.

    `ratings` name images relative to one of `folders`, those that were given. `unique` leaves out
    images whose hash differs in at most `max_distance` bits from a better one.
    """

    key: str
    top: int = 10
    per: str | None = None
    lowest: bool = False
    unique: bool = False
    max_distance: int = _EXACT
    reference: Path | None = None
    ratings: Path | None = None
    folders: tuple[Path, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PickedImage:
    """An image that was picked; `rank` counts from 1 within its group."""

    path: Path
    value: float
    group: Any
    rank: int


def pick_images(
    paths: Sequence[Path], options: PickOptions, warn: Callable[[str], None]
) -> list[PickedImage]:
    """Return the best images, group by group, the best first.

    Scores in sidecars are used, others are measured. `warn` is called for images without a value.
    Raises UsageError for a key that none of them has, and for a field that none of them has.
    """
    ratings = read_ratings(options.ratings) if options.ratings else {}
    metrics = [options.key] if options.key in METRICS else []
    scorer = Scorer(
        metrics=metrics,
        reference=options.reference,
        uses_sidecars=True,
        warn=warn,
        with_hash=options.unique,
    )
    images = score_images(paths, scorer)
    values = [_value(image, options, ratings) for image in images]
    ranked = [
        (value, image) for value, image in zip(values, images, strict=True) if value is not None
    ]
    if not ranked:
        raise _no_value_error(options, images)
    if missing := len(images) - len(ranked):
        warn(f"images without {options.key}: {missing}")
    ranked.sort(key=lambda pair: pair[0], reverse=not options.lowest)
    groups = _group_images(ranked, options.per)
    return [picked for group in groups.items() for picked in _pick_group(*group, options)]


def _pick_group(
    group: str, ranked: list[tuple[float, ScoredImage]], options: PickOptions
) -> list[PickedImage]:
    if options.unique:
        mark_duplicates([image for _, image in ranked], options.max_distance)
        ranked = [(value, image) for value, image in ranked if image.duplicate_of is None]
    return [
        PickedImage(path=image.path, value=value, group=json.loads(group), rank=rank)
        for rank, (value, image) in enumerate(ranked[: options.top], 1)
    ]


def _value(image: ScoredImage, options: PickOptions, ratings: Mapping[str, int]) -> float | None:
    if options.key != RATING:
        return image.scores.get(options.key)
    return ratings.get(_rated_name(image.path, options.folders, ratings))


def _rated_name(path: Path, folders: Sequence[Path], ratings: Mapping[str, int]) -> str:
    """The name that an image has in ratings; any other name if it has none."""
    folder = next((folder for folder in folders if path.is_relative_to(folder)), None)
    relative = printable(path.relative_to(folder).as_posix()) if folder else ""
    if relative in ratings:
        return relative
    # A longer name is that of a gallery of a folder above, a shorter one of another image.
    full = printable(path.absolute().as_posix())
    names = (name for name in ratings if len(name) > len(relative) and full.endswith(f"/{name}"))
    return max(names, key=len, default=relative)


def _group_images(
    ranked: Sequence[tuple[float, ScoredImage]], per: str | None
) -> dict[str, list[tuple[float, ScoredImage]]]:
    """The images by the value of a setting, as JSON. Raises UsageError if none has the setting."""
    groups: dict[str, list[tuple[float, ScoredImage]]] = {}
    known: set[str] = set()
    for value, image in ranked:
        settings = read_settings(image.path, image.info)[1] if per else {}
        known |= settings.keys()
        group = settings.get(per or "")
        if not isinstance(group, str | int | float | None):
            group = str(group)
        # As keys of a dictionary, 1 and true would be one group.
        groups.setdefault(json.dumps(group), []).append((value, image))
    if per and per not in known:
        hint = did_you_mean(per, known) or f"they have {', '.join(sorted(known))}"
        raise UsageError(f"--per {per}: no image has it", code="usage.per", hint=hint)
    return groups


def _no_value_error(options: PickOptions, images: Sequence[ScoredImage]) -> UsageError:
    if options.key == RATING and not options.ratings:
        hint = "save the ratings in a gallery, and add --ratings FILE"
    elif options.key in REFERENCE_METRICS:
        hint = "add --reference IMAGE"
    elif options.key == CLIP_SCORE:
        hint = "measure it first: sdcli score IMAGES --model FOLDER --sidecar"
    else:
        scored = (name for image in images for name in image.scores)
        known = {*METRICS, CLIP_SCORE, *REFERENCE_METRICS, RATING, *scored}
        hint = did_you_mean(options.key, known) or f"one of {', '.join(sorted(known))}"
    return UsageError(f"--by {options.key}: no image has it", code="usage.by", hint=hint)


def read_ratings(path: Path) -> dict[str, int]:
    """Read the ratings that a gallery saved, by the name of the image. Raises UsageError."""
    try:
        document = json.loads(path.read_bytes())
        ratings = document["ratings"]
        if document["schema"] != RATINGS_SCHEMA:
            raise ValueError(f"its schema is {document['schema']}")
        return {str(name): int(value) for name, value in ratings.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(
            f"{path}: not the ratings of a gallery ({error})",
            code="usage.ratings",
            hint='"Save ratings as JSON" in a gallery writes such a file',
        ) from error


def collect_images(
    picked: Sequence[PickedImage], folder: Path, *, link: bool, force: bool
) -> list[Path]:
    """Copy images with their sidecars to a folder, or link them, and return the new paths.

    Raises OutputError for names that exist, and UsageError for two files of the same name.
    """
    # Images that differ in their suffix only share a sidecar.
    sources = list(dict.fromkeys(source for image in picked for source in _with_sidecar(image)))
    counts = Counter(source.name for source in sources)
    if twice := next((name for name, count in counts.items() if count > 1), None):
        raise UsageError(
            f"two of the files are called {twice}",
            code="usage.out",
            hint="pick from one folder at a time",
        )
    files.prepare_folder(folder)
    # With --force, a link would replace the very image that it points at.
    if any(image.path.parent.resolve() == folder.resolve() for image in picked):
        raise UsageError(f"--out {folder}: the images are in it", code="usage.out")
    if not force and (taken := next((n for n in counts if os.path.lexists(folder / n)), None)):
        raise OutputError(
            f"{folder / taken} exists",
            code="output.exists",
            hint="choose another folder, or add --force",
        )
    for source in sources:
        _place(source, folder / source.name, link=link, force=force)
    return [folder / image.path.name for image in picked]


def _with_sidecar(image: PickedImage) -> Iterator[Path]:
    yield image.path
    if (sidecar := image.path.with_suffix(companions.SIDECAR)).is_file():
        yield sidecar


def _place(source: Path, target: Path, *, link: bool, force: bool) -> None:
    with files.os_errors_as_output_errors(target):
        if not link:
            files.write_atomic(target, source.read_bytes(), force=force)
            return
        if force:
            target.unlink(missing_ok=True)
        # A relative link still works when both folders move together.
        target.symlink_to(os.path.relpath(source.resolve(), target.parent.resolve()))
