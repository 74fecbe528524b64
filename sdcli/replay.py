"""Images made again from their own records, and compared with what they are."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from sdcli.dump import RESUMED, LatentsWanted
from sdcli.errors import DifferentError, ExitCode, SdcliError, UsageError
from sdcli.prompts.arrivals import Given
from sdcli.prompts.fields import SIZE, canonical, from_text
from sdcli.request import GenerationRequest
from sdcli.result import Failure, GenerationResult
from sdcli.run import generate, outcomes
from sdcli.shelf import Delivery, Shelf

if TYPE_CHECKING:
    from sdcli.output.dumps import Dump

SCHEMA: Final = "sdcli/replay/1"


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """An image that says how it was made: what `encode.read` read, and its request."""

    path: Path
    document: Mapping[str, Any]
    request: GenerationRequest


def read(paths: Sequence[str], changes: Sequence[str]) -> list[Recorded]:
    """The images with their requests, each `name=value` of `changes` laid over them.

    Raises UsageError for an image without a record of ours, CorruptError for a broken one.
    """
    from sdcli.output import encode, record

    overlay = parse_changes(changes)
    found = []
    for path in map(Path, paths):
        document = encode.read(path)
        if document["record"] is None:
            raise _strange(path, document["parameters"])
        if borrowed := [e for e in document["record"].get("events", ()) if _is_borrowed(e)]:
            raise UsageError(
                f"{path}: its {borrowed[0]}: it cannot be made of its own record alone",
                code="replay.resumed",
                hint="sdcli latents resume makes it again, if those latents are still there",
            )
        recorded = record.request_of(document["record"], path)
        request = GenerationRequest.from_dict(recorded.to_dict() | overlay)
        found.append(Recorded(path=path, document=document, request=request))
    return found


def _strange(path: Path, parameters: str | None) -> UsageError:
    """The error for an image without a record of ours."""
    from sdcli.output import foreign

    reading = foreign.read(path, parameters)
    return UsageError(
        f"{path}: {f'{reading.generator} made it' if reading else 'it has no record'}, "
        "and replay reads the records of sdcli",
        code="replay.no_record",
        hint=f"sdcli inspect {shlex.quote(str(path))} --as-command" if reading else None,
    )


def _is_borrowed(event: object) -> bool:
    """Whether the event says that the image began as another."""
    return isinstance(event, str) and event.startswith(RESUMED)


def source(images: Sequence[Recorded]) -> Given:
    """The requests, for `run.deliver`."""
    return Given([image.request for image in images])


def check(image: Recorded, shelf: Shelf | None) -> dict[str, Any]:
    """Make the image again, at batch size 1, and compare; with a shelf, keep the new one."""
    from sdcli.engine import versions
    from sdcli.output.compare import compare

    result = _made(image.request, shelf)[0] if shelf else generate(image.request)[0]
    return compare(image.path, image.document, result, versions())


def _made(request: GenerationRequest, shelf: Shelf) -> tuple[GenerationResult, str | None]:
    """The one image that is asked for, drawn and put on the shelf, and where its latents are."""
    with shelf.dumps:
        [outcome] = outcomes(Given([request]), sinks=[shelf.dumps])
        if isinstance(outcome, Failure):
            raise outcome.error
        _, latents = shelf.put(outcome)
    return outcome, latents


@contextmanager
def redrawn(path: str, wanted: LatentsWanted, warn: Callable[[str], None]) -> Iterator[Dump]:
    """The latents of an image that has none beside it: drawn again, and gone afterwards.

    `warn` hears when they led to other pixels than the image's.
    """
    from sdcli.output import dumps
    from sdcli.output.record import pixels_sha256

    [image] = read([path], ())
    with TemporaryDirectory() as folder:
        out = str(Path(folder) / "again.png")
        shelf = Shelf(Delivery(out=out, images=1, save_latents=wanted))
        result, latents = _made(image.request, shelf)
        if pixels_sha256(result.pixels) != image.document["pixels_sha256"]:
            warn(f"{path}: drawn again, it is another picture (sdcli replay --check tells more)")
        assert latents is not None
        yield dumps.read(latents)


def open_shelf(out: str | None, *, images: int, force: bool) -> Shelf | None:
    """Where checked images go, if anywhere."""
    return Shelf(Delivery(out=out, images=images, force=force)) if out else None


def verdict(checks: Sequence[Mapping[str, Any]]) -> ExitCode:
    """DIFFERENT when any image is."""
    return ExitCode.DIFFERENT if any(c["verdict"] == "different" for c in checks) else ExitCode.OK


def complaint(check: Mapping[str, Any]) -> SdcliError | None:
    """The error to tell of an image that came out different."""
    if check["verdict"] != "different":
        return None
    return DifferentError(
        f"{check['path']}: another picture, PSNR {check['psnr']} dB",
        code="replay.different",
        hint="the lines above name what has changed" if check["differences"] else None,
    )


def parse_changes(changes: Sequence[str]) -> dict[str, Any]:
    """`steps=40` and the like as fields of a request. Raises UsageError."""
    overlay: dict[str, Any] = {}
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals:
            raise UsageError(
                f"--set {change}: not NAME=VALUE", code="usage.set", hint="as in --set steps=40"
            )
        field = canonical(name)
        if field == SIZE:
            overlay["width"], overlay["height"] = _size(value)
        else:
            overlay[field] = from_text(field, value)
    return overlay


def _size(text: str) -> Any:
    try:
        return from_text(SIZE, text)
    except UsageError as error:
        raise UsageError(
            f"size: {text!r} is not WIDTHxHEIGHT", code=error.code, hint="as in --set size=512x768"
        ) from error
