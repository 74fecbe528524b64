"""Render a gallery as one HTML page that needs no network and no other file."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sdcli.storage.text import one_line

_FOLDER: Final = Path(__file__).parent
_INLINE_SOURCES: Final = "data:"
_LINKED_SOURCES: Final = "'self' file: data:"


@dataclass(frozen=True, kw_only=True)
class GalleryImage:
    """An image of a gallery.

    `href` is the URL of its file relative to the page, `source` the URL of what is shown in the
    grid: the file, or a thumbnail as data. `settings` and `scores` are what the page sorts by.
    `command` reproduces the image, "" if it is not known.
    """

    name: str
    href: str
    source: str
    width: int
    height: int
    command: str
    settings: Mapping[str, Any]
    scores: Mapping[str, float]


def render_page(title: str, images: Sequence[GalleryImage], *, links: bool = False) -> str:
    """Render the page. With `links`, it may load images from files next to it."""
    style, script = ((_FOLDER / name).read_text("utf-8") for name in ("grid.css", "grid.js"))
    return render_template(
        _FOLDER,
        "grid.html.jinja",
        title=one_line(title),
        policy=content_policy(style, script, links=links),
        style=style,
        script=script,
        gallery=gallery_data(images),
    )


def render_template(folder: Path, name: str, **values: Any) -> str:
    """Render a template in a folder; all text is escaped unless the template calls it safe."""
    import jinja2

    # Strict, so that a misspelt name is an error, not an empty place in the page.
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template(name).render(**values)


def content_policy(style: str, script: str | None, *, links: bool) -> str:
    """The Content-Security-Policy: only this style and script run, and nothing is requested."""
    directives = {
        "default-src": "'none'",
        "img-src": _LINKED_SOURCES if links else _INLINE_SOURCES,
        "style-src": f"'{_hash_source(style)}'",
        "script-src": "'none'" if script is None else f"'{_hash_source(script)}'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {sources}" for name, sources in directives.items())


def _hash_source(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def gallery_data(images: Sequence[GalleryImage]) -> dict[str, Any]:
    """The data of the page's script.

    A setting that all images share is in `common`. Those of the others are numbers that count into
    the distinct `values` of their column, -1 where an image does not have it. A command is a list
    of numbers of its `words`.
    """
    names = list(dict.fromkeys(name for image in images for name in image.settings))
    scores = sorted({name for image in images for name in image.scores})
    columns = {name: [image.settings.get(name) for image in images] for name in names}
    common = {name: values[0] for name, values in columns.items() if _is_common(values)}
    varied = {name: values for name, values in columns.items() if name not in common}
    # Python has one dictionary key for 1 and True.
    distinct = {name: _distinct(values) for name, values in varied.items()}
    places = {name: {text: i for i, text in enumerate(values)} for name, values in distinct.items()}
    words = {word: i for i, word in enumerate(_distinct_words(images))}
    return {
        "words": list(words),
        "common": {name: _plain(value) for name, value in common.items()},
        "columns": [{"name": name, "values": list(distinct[name].values())} for name in varied],
        "scores": scores,
        "images": [_row(image, places, words, scores) for image in images],
    }


def _row(
    image: GalleryImage,
    places: Mapping[str, Mapping[str, int]],
    words: Mapping[str, int],
    scores: Sequence[str],
) -> list[Any]:
    # A setting that the image does not have is None, which has no place.
    settings = [of.get(repr(image.settings.get(name)), -1) for name, of in places.items()]
    numbers = [_plain(image.scores.get(name)) for name in scores]
    command = [words[word] for word in _words(image.command)]
    # What would repeat the name is left out, since a page may have thousands of images.
    files = [image.name, None if image.href == image.name else image.href]
    source = None if image.source == image.href else image.source
    return [*files, source, image.width, image.height, command, settings, numbers]


def _distinct_words(images: Sequence[GalleryImage]) -> dict[str, None]:
    return dict.fromkeys(word for image in images for word in _words(image.command))


def _words(command: str) -> list[str]:
    return command.split(" ") if command else []


def _is_common(values: Sequence[object]) -> bool:
    return len(values) > 1 and all(repr(value) == repr(values[0]) for value in values)


def _distinct(values: Sequence[object]) -> dict[str, Any]:
    return {repr(value): _plain(value) for value in values if value is not None}


def _plain(value: Any) -> Any:
    """A value that every JSON parser reads: records of other programs may hold NaN."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return value if value is None or isinstance(value, bool | int) else str(value)
