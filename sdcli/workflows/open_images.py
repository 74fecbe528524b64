"""Open images as a source of requests: each is a job by its own record."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from sdcli.errors import SdcliError, UsageError, UsageErrors
from sdcli.fields.hires import HIRES_FIELDS
from sdcli.fields.image import IMAGE_FIELDS
from sdcli.inputs.image_suffixes import IMAGE_SUFFIXES
from sdcli.inputs.paths import expand_user
from sdcli.prompts.entry_expander import Validator
from sdcli.prompts.expansion import RequestTemplate
from sdcli.prompts.field_values import PROMPT
from sdcli.prompts.loader import KEEP_GOING
from sdcli.prompts.placeholders import placeholder_errors
from sdcli.prompts.sources import IterableSource, RequestSource
from sdcli.request import GenerationRequest
from sdcli.row import Row
from sdcli.runner.input_images import read_image
from sdcli.terminal.console import Console
from sdcli.workflows.open_prompts import PromptSource
from sdcli.workflows.recorded_fields import read_recorded

_PATH_FIELDS: Final = (
    "model", "vae", "refiner", "image", "mask", "controlnet", "control_image", "ip_adapter",
    "ip_image", "ip_encoder",
)  # fmt: skip
_OF_THE_OUTPUT: Final = frozenset({"width", "height", *IMAGE_FIELDS, *HIRES_FIELDS})
"""Recorded settings that an image replaces when it is the input itself."""

_MAX_ERRORS: Final = 100


def has_images(files: Sequence[str]) -> bool:
    """Whether a batch is of images. Raises UsageError for a mixture with prompt files."""
    are_images = [_is_image(name) or expand_user(name).is_dir() for name in files]
    if any(are_images) and not all(are_images):
        raise UsageError(
            f"{files[are_images.index(False)]}: images and prompt files cannot be in one batch",
            code="usage.file",
            hint="run `sdcli batch` once for each kind",
        )
    return any(are_images)


def open_images(
    files: Sequence[str],
    template: RequestTemplate,
    keep_going: bool,
    console: Console,
    *,
    as_input: bool = False,
) -> PromptSource:
    """Open images, and all images of folders, as jobs by their own records.

    The command line wins over the records. With `as_input`, each run starts from its image. Images
    without a usable record are skipped with `keep_going`. Raises UsageErrors with all errors, by
    the names of the images.
    """
    from sdcli.planning.validation import RequestValidator
    from sdcli.storage.images.folder_images import find_images

    validator = RequestValidator(read_image)
    images: list[_RecordedImage] = []
    errors: list[UsageError] = []
    # One by one: no folder may be without images.
    for path in [p for name in files for p in find_images([name], recursive=False)]:
        try:
            image = _read(path, template, as_input, console.warn)
            _check(image, template, validator)
        except SdcliError as error:
            errors += _named(path, error)
        else:
            images.append(image)
    if errors and (not keep_going or not images):
        hint = KEEP_GOING if images else "fix them and run again"
        raise UsageErrors(errors[:_MAX_ERRORS], len(errors), summary_hint=hint)
    for skipped in errors[:_MAX_ERRORS]:
        console.error(skipped)
    counts = [template.count_images(image.line, image.recorded) for image in images]
    total = None if None in counts else sum(count or 0 for count in counts)

    def reopen() -> RequestSource:
        return IterableSource(_expand_all(images, template), template.wildcards)

    return PromptSource(reopen(), total, len(errors), reopen)


@dataclass(frozen=True, kw_only=True)
class _RecordedImage:
    """The prompt of an image, and the other settings of its record."""

    line: Mapping[str, Sequence[object]]
    recorded: Mapping[str, Sequence[object]]
    row: Row

    def requests(self, template: RequestTemplate) -> Iterator[GenerationRequest]:
        return template.expand(self.line, self.recorded, self.row)


def _expand_all(
    images: Sequence[_RecordedImage], template: RequestTemplate
) -> Iterator[GenerationRequest]:
    for image in images:
        yield from image.requests(template)


def _is_image(name: str) -> bool:
    return Path(name).suffix.lower() in IMAGE_SUFFIXES


def _read(
    path: Path, template: RequestTemplate, as_input: bool, warn: Callable[[str], None]
) -> _RecordedImage:
    # What the command line names need not be found by the record.
    chosen = {name: template.flags[name][0] for name in _PATH_FIELDS if name in template.flags}
    fields, extra = read_recorded(path, chosen, warn, ignore_inputs=as_input)
    if as_input:
        fields = {name: value for name, value in fields.items() if name not in _OF_THE_OUTPUT}
        fields["image"] = str(path)
    return _RecordedImage(
        line={PROMPT: (fields.pop(PROMPT),)},
        recorded={name: (value,) for name, value in fields.items() if value is not None},
        row=Row(file=str(path), extra=extra),
    )


def _check(image: _RecordedImage, template: RequestTemplate, validator: Validator) -> None:
    """Raise the errors of the requests of an image."""
    if template.name_template:
        for error in placeholder_errors(template.name_template, image.row.extra):
            raise error
    errors: dict[str, SdcliError] = {}
    for request in image.requests(replace(template, sample=True)):
        errors |= {error.message: error for _, error in validator(request)}
    if errors:
        raise UsageErrors([_as_usage(error) for error in errors.values()])


def _named(path: Path, error: SdcliError) -> list[UsageError]:
    """Return the errors with the name of the image in front."""
    several = error.several if isinstance(error, UsageErrors) else [error]
    return [_as_usage(each, f"{path}: ") for each in several]


def _as_usage(error: SdcliError, prefix: str = "") -> UsageError:
    prefix = "" if error.message.startswith(prefix) else prefix
    return UsageError(f"{prefix}{error.message}", code=error.code, hint=error.hint)


def as_input_needs_images() -> UsageError:
    """The error of --as-input for prompt files."""
    return UsageError(
        "--as-input: the files are prompts, not images",
        code="usage.as_input",
        hint="give images or a folder of images; in prompt files, set the field image",
    )
