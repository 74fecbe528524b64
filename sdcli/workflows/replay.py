"""Regenerate images from their embedded metadata, and compare the results."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from sdcli.checkpoints.recorded import locate_recorded
from sdcli.checkpoints.single_file.model import drop_single_file_options
from sdcli.errors import DifferentError, ExitCode, ModelError, SdcliError, UsageError, quoted
from sdcli.inputs.paths import expand_user
from sdcli.latents import LatentsSelection, is_resumed_event
from sdcli.prompts.fields import SIZE, canonical_field, parse_text
from sdcli.prompts.sources import IterableSource
from sdcli.request import GenerationRequest
from sdcli.result import GenerationResult, JobFailure
from sdcli.row import Row
from sdcli.runner.loop import generate, iter_results
from sdcli.runner.options import RunOptions
from sdcli.runner.writer import ResultWriter

if TYPE_CHECKING:
    from sdcli.storage.latents.latents_file import LatentsFile

SCHEMA: Final = "sdcli/replay/1"


@dataclass(frozen=True, kw_only=True)
class RecordedImage:
    """An image with an embedded request; `document` is what `read_image_info` returned for it."""

    path: Path
    document: Mapping[str, Any]
    request: GenerationRequest


def read_images(
    paths: Sequence[str],
    overrides: Sequence[str],
    model: str | None = None,
    *,
    inputs: str | None = None,
    warn: Callable[[str], None] = lambda warning: None,
) -> list[RecordedImage]:
    """Read images and their requests, changed by overrides such as "steps=40".

    Models are looked for on this machine by the recorded hash or name, unless `model` or an
    override names one; input images and add-ons in the folder `inputs`, next to each image, and in
    the current folder. `warn` is called for an input that has changed. Raises ModelError for a
    model or an add-on that is not here, UsageError for an image without a record of sdcli, or one
    whose first steps came from another run; CorruptError for a record that cannot be read.
    """
    changes = parse_overrides(overrides)
    if model is not None:
        changes["model"] = model
    return [read_image(Path(path), changes, inputs, warn) for path in paths]


def read_image(
    path: Path,
    changes: Mapping[str, Any],
    inputs: str | None,
    warn: Callable[[str], None],
    document: Mapping[str, Any] | None = None,
) -> RecordedImage:
    """Read one image and its request, changed by fields. Raises as `read_images` does.

    `document` is what `read_image_info` returned for it, if it was read before.
    """
    from sdcli.storage.images.codec import read_image_info
    from sdcli.storage.metadata.record import record_request

    document = document or read_image_info(path)
    record = document["record"]
    if record is None:
        raise _no_record_error(path, document["parameters"])
    events = record.get("events")
    for event in events if isinstance(events, list) else ():
        if is_resumed_event(event):
            raise UsageError(
                f"{path}: its {event}: its own record is not enough to regenerate it",
                code="replay.resumed",
                hint="sdcli latents resume regenerates it, if those latents still exist",
            )
    recorded = record_request(record, path).to_dict()
    extra = record.get("extra")
    request = replace(
        GenerationRequest.from_dict({**recorded, **changes}),
        row=Row(extra=extra if isinstance(extra, dict) else {}),
    )
    if "model" in changes:
        request = replace(request, spec=drop_single_file_options(request.spec))
    request = locate_files(_locate(request, record, path), record, path, inputs, warn)
    return RecordedImage(path=path, document=document, request=request)


def _locate(request: GenerationRequest, record: Mapping[str, Any], path: Path) -> GenerationRequest:
    """The request with the paths of its models on this machine."""
    try:
        spec = locate_recorded(request.spec, record, path.parent)
    except ModelError as error:
        raise ModelError(f"{path}: {error.message}", code=error.code, hint=error.hint) from error
    return replace(request, spec=spec)


def locate_files(
    request: GenerationRequest,
    record: Mapping[str, Any],
    path: Path,
    inputs: str | None,
    warn: Callable[[str], None],
) -> GenerationRequest:
    """Return the request of the file at `path` with the paths of its files on this machine.

    Those are input images, LoRAs, embeddings, and ControlNets and IP-Adapters with their images.
    Raises ModelError and UsageError for one that is not here.
    """
    given = [expand_user(inputs)] if inputs else []
    beside = [*given, path.parent, Path()]
    # The images of a batch lie in a folder of their own, next to what they were made with.
    above = [*given, path.parent, path.parent.parent, Path()]
    try:
        if request.lora or request.embedding:
            from sdcli.checkpoints.adapters.recorded_embeddings import locate_embeddings
            from sdcli.checkpoints.adapters.recorded_loras import locate_loras

            request = locate_embeddings(locate_loras(request, record, above), record, above)
        if request.image:
            from sdcli.storage.metadata.recorded_inputs import locate_inputs

            request = locate_inputs(request, record, beside, warn, own=path)
        if request.controlnet:
            from sdcli.storage.metadata.recorded_controls import locate_controls

            request = locate_controls(request, record, above, warn, own=path)
        if request.ip_adapter:
            from sdcli.storage.metadata.recorded_ip_adapters import locate_ip_adapters

            request = locate_ip_adapters(request, record, above, warn, own=path)
    except (ModelError, UsageError) as error:
        raise type(error)(f"{path}: {error.message}", code=error.code, hint=error.hint) from error
    return request


def _no_record_error(path: Path, parameters: str | None) -> UsageError:
    from sdcli.interop.readers import read_foreign

    foreign = read_foreign(path, parameters)
    if foreign is None:
        message = "it has no record of how it was made"
        hint = "give an image that sdcli made, without --no-metadata"
    else:
        message = f"{foreign.generator} made it, and this needs a record of sdcli"
        hint = f"sdcli inspect {shlex.quote(str(path))} --as-command"
    return UsageError(f"{path}: {message}", code="replay.no_record", hint=hint)


def request_source(images: Sequence[RecordedImage]) -> IterableSource:
    """Return the images' requests as the source of a run."""
    return IterableSource([image.request for image in images])


def verify(image: RecordedImage, writer: ResultWriter | None) -> dict[str, Any]:
    """Regenerate an image at batch size 1 and compare it; with a writer, save the new image.

    Returns the JSON-able document of `verify_image`.
    """
    from sdcli.storage.images.verify import verify_image
    from sdcli.versions import library_versions

    if writer:
        result, _ = _generate_and_save(image.request, writer)
    else:
        [result] = generate(image.request)
    return verify_image(image.path, image.document, result, library_versions())


def _generate_and_save(
    request: GenerationRequest, writer: ResultWriter
) -> tuple[GenerationResult, str | None]:
    """Generate and save one image; return its result and the path of its latents."""
    with writer.latents:
        [outcome] = iter_results(IterableSource([request]), sinks=[writer.latents])
        if isinstance(outcome, JobFailure):
            raise outcome.error
        _, latents = writer.save(outcome)
    return outcome, latents


@contextmanager
def regenerate_latents(
    path: str, selection: LatentsSelection, warn: Callable[[str], None]
) -> Iterator[LatentsFile]:
    """Regenerate the latents of an image in a temporary folder, which is deleted on exit.

    `warn` is called when the regenerated pixels differ from the image's.
    """
    from sdcli.storage.latents.reader import read_latents_file
    from sdcli.storage.metadata.record import pixels_sha256

    [image] = read_images([path], ())
    with TemporaryDirectory() as folder:
        out = str(Path(folder) / "regenerated.png")
        writer = ResultWriter(RunOptions(out=out, expected_images=1, save_latents=selection))
        result, latents = _generate_and_save(image.request, writer)
        if pixels_sha256(result.pixels) != image.document["pixels_sha256"]:
            warn(f"{path}: the regenerated image is different (see sdcli replay --check)")
        assert latents is not None
        yield read_latents_file(latents)


def open_writer(out: str | None, *, images: int, force: bool) -> ResultWriter | None:
    """Open the destination of regenerated images, None without `--out`."""
    return ResultWriter(RunOptions(out=out, expected_images=images, force=force)) if out else None


def exit_code_of(checks: Sequence[Mapping[str, Any]]) -> ExitCode:
    """Return DIFFERENT when any image came out different, otherwise OK."""
    return ExitCode.DIFFERENT if any(c["verdict"] == "different" for c in checks) else ExitCode.OK


def mismatch_error(check: Mapping[str, Any]) -> SdcliError | None:
    """Return the error to report for an image that came out different, otherwise None."""
    if check["verdict"] != "different":
        return None
    return DifferentError(
        f"{check['path']}: the regenerated image is different, PSNR {check['psnr']} dB",
        code="replay.different",
        hint="the lines above list what has changed" if check["differences"] else None,
    )


def parse_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """Parse overrides such as "steps=40" to fields of a request. Raises UsageError."""
    changes: dict[str, Any] = {}
    for override in overrides:
        name, equals, value = override.partition("=")
        if not equals:
            raise UsageError(
                f"--set {override}: not NAME=VALUE", code="usage.set", hint="as in --set steps=40"
            )
        field = canonical_field(name)
        if field == SIZE:
            changes["width"], changes["height"] = _parse_size(value)
        else:
            changes[field] = parse_text(field, value)
    return changes


def _parse_size(text: str) -> Any:
    try:
        return parse_text(SIZE, text)
    except UsageError as error:
        raise UsageError(
            f"size: {quoted(text)} is not WIDTHxHEIGHT",
            code=error.code,
            hint="as in --set size=512x768",
        ) from error
