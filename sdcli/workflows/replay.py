"""Images made again from their own records, and compared with what they are."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from sdcli.errors import DifferentError, ExitCode, SdcliError, UsageError
from sdcli.latents import RESUMED_PREFIX, LatentsSelection
from sdcli.prompts.fields import SIZE, canonical_field, parse_text
from sdcli.prompts.sources import IterableSource
from sdcli.request import GenerationRequest
from sdcli.result import GenerationResult, JobFailure
from sdcli.runner.loop import generate, iter_results
from sdcli.runner.options import RunOptions
from sdcli.runner.writer import ResultWriter

if TYPE_CHECKING:
    from sdcli.storage.latents.reader import LatentsFile

SCHEMA: Final = "sdcli/replay/1"


@dataclass(frozen=True, kw_only=True)
class RecordedImage:
    """An image that says how it was made: what `encode.read` read, and its request."""

    path: Path
    document: Mapping[str, Any]
    request: GenerationRequest


def read_images(paths: Sequence[str], changes: Sequence[str]) -> list[RecordedImage]:
    """The images with their requests, each `name=value` of `changes` laid over them.

    Raises UsageError for an image without a record of ours, CorruptError for a broken one.
    """
    from sdcli.storage.images.codec import read_image_info
    from sdcli.storage.metadata import record

    overlay = parse_overrides(changes)
    found = []
    for path in map(Path, paths):
        document = read_image_info(path)
        if document["record"] is None:
            raise _no_record_error(path, document["parameters"])
        if borrowed := [e for e in document["record"].get("events", ()) if _is_resumed_event(e)]:
            raise UsageError(
                f"{path}: its {borrowed[0]}: it cannot be made of its own record alone",
                code="replay.resumed",
                hint="sdcli latents resume makes it again, if those latents are still there",
            )
        recorded = record.record_request(document["record"], path)
        request = GenerationRequest.from_dict(recorded.to_dict() | overlay)
        found.append(RecordedImage(path=path, document=document, request=request))
    return found


def _no_record_error(path: Path, parameters: str | None) -> UsageError:
    """The error for an image without a record of ours."""
    from sdcli.interop.readers import read_foreign

    reading = read_foreign(path, parameters)
    return UsageError(
        f"{path}: {f'{reading.generator} made it' if reading else 'it has no record'}, "
        "and replay reads the records of sdcli",
        code="replay.no_record",
        hint=f"sdcli inspect {shlex.quote(str(path))} --as-command" if reading else None,
    )


def _is_resumed_event(event: object) -> bool:
    """Whether the event says that the image began as another."""
    return isinstance(event, str) and event.startswith(RESUMED_PREFIX)


def request_source(images: Sequence[RecordedImage]) -> IterableSource:
    """The requests, for `run.deliver`."""
    return IterableSource([image.request for image in images])


def verify(image: RecordedImage, shelf: ResultWriter | None) -> dict[str, Any]:
    """Make the image again, at batch size 1, and compare; with a shelf, keep the new one."""
    from sdcli.storage.images.verify import verify_image
    from sdcli.versions import library_versions

    result = _generate_and_save(image.request, shelf)[0] if shelf else generate(image.request)[0]
    return verify_image(image.path, image.document, result, library_versions())


def _generate_and_save(
    request: GenerationRequest, shelf: ResultWriter
) -> tuple[GenerationResult, str | None]:
    """The one image that is asked for, drawn and put on the shelf, and where its latents are."""
    with shelf.latents:
        [outcome] = iter_results(IterableSource([request]), sinks=[shelf.latents])
        if isinstance(outcome, JobFailure):
            raise outcome.error
        _, latents = shelf.save(outcome)
    return outcome, latents


@contextmanager
def regenerate_latents(
    path: str, wanted: LatentsSelection, warn: Callable[[str], None]
) -> Iterator[LatentsFile]:
    """The latents of an image that has none beside it: drawn again, and gone afterwards.

    `warn` hears when they led to other pixels than the image's.
    """
    from sdcli.storage.latents.reader import read_latents_file
    from sdcli.storage.metadata.record import pixels_sha256

    [image] = read_images([path], ())
    with TemporaryDirectory() as folder:
        out = str(Path(folder) / "again.png")
        shelf = ResultWriter(RunOptions(out=out, expected_images=1, save_latents=wanted))
        result, latents = _generate_and_save(image.request, shelf)
        if pixels_sha256(result.pixels) != image.document["pixels_sha256"]:
            warn(f"{path}: drawn again, it is another picture (sdcli replay --check tells more)")
        assert latents is not None
        yield read_latents_file(latents)


def open_writer(out: str | None, *, images: int, force: bool) -> ResultWriter | None:
    """Where checked images go, if anywhere."""
    return ResultWriter(RunOptions(out=out, expected_images=images, force=force)) if out else None


def exit_code_of(checks: Sequence[Mapping[str, Any]]) -> ExitCode:
    """DIFFERENT when any image is."""
    return ExitCode.DIFFERENT if any(c["verdict"] == "different" for c in checks) else ExitCode.OK


def mismatch_error(check: Mapping[str, Any]) -> SdcliError | None:
    """The error to tell of an image that came out different."""
    if check["verdict"] != "different":
        return None
    return DifferentError(
        f"{check['path']}: another picture, PSNR {check['psnr']} dB",
        code="replay.different",
        hint="the lines above name what has changed" if check["differences"] else None,
    )


def parse_overrides(changes: Sequence[str]) -> dict[str, Any]:
    """`steps=40` and the like as fields of a request. Raises UsageError."""
    overlay: dict[str, Any] = {}
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals:
            raise UsageError(
                f"--set {change}: not NAME=VALUE", code="usage.set", hint="as in --set steps=40"
            )
        field = canonical_field(name)
        if field == SIZE:
            overlay["width"], overlay["height"] = _parse_size(value)
        else:
            overlay[field] = parse_text(field, value)
    return overlay


def _parse_size(text: str) -> Any:
    try:
        return parse_text(SIZE, text)
    except UsageError as error:
        raise UsageError(
            f"size: {text!r} is not WIDTHxHEIGHT", code=error.code, hint="as in --set size=512x768"
        ) from error
