"""Read what a command generates: a prompt with options, or an image that sdcli made."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import typer

from sdcli.commands.options.config_defaults import setting_source
from sdcli.commands.options.request_flags import RequestFlags
from sdcli.errors import UsageError
from sdcli.inputs.image_suffixes import IMAGE_SUFFIXES
from sdcli.inputs.paths import expand_user
from sdcli.inputs.regular_file import check_regular
from sdcli.prompts.field_values import flag_values
from sdcli.request import GenerationRequest
from sdcli.run_flags import ExpansionFlags

if TYPE_CHECKING:
    from sdcli.terminal.console import Console


def read_target(
    target: str,
    context: typer.Context,
    flags: RequestFlags,
    inputs: str | None,
    console: Console,
    *,
    purpose: str,
) -> tuple[GenerationRequest, str | None]:
    """Return the request, and the hash of the pixels that an unchanged record promises.

    `purpose` begins the error of options that ask for several images. Raises UsageError.
    """
    path = expand_user(target)
    is_image = path.suffix.lower() in IMAGE_SUFFIXES
    if is_image and not any(map(str.isspace, target)):
        check_regular(path)
    if is_image and os.path.isfile(path):
        from sdcli.workflows.replay import read_image

        changes = _typed_changes(context, flags, purpose)
        image = read_image(path, changes, inputs, console.warn)
        return image.request, None if changes else image.document["pixels_sha256"]
    if inputs is not None:
        raise UsageError(
            "--inputs is for an IMAGE, but this is a prompt",
            code="usage.inputs",
            hint="--image names the input image of a prompt",
        )
    return read_prompt(target, context, flags, console, purpose=purpose), None


def read_prompt(
    prompt: str, context: typer.Context, flags: RequestFlags, console: Console, *, purpose: str
) -> GenerationRequest:
    """Return the one request of a prompt with options. Raises UsageError for several."""
    template = flags.template(context, ExpansionFlags())
    for note in template.notes({"prompt": (prompt,)}):
        console.warn(note)
    requests = list(template.expand({"prompt": (prompt,)}))
    if len(requests) != 1 or requests[0].count != 1:
        raise _several_images_error(purpose)
    return requests[0]


def _typed_changes(context: typer.Context, flags: RequestFlags, purpose: str) -> dict[str, object]:
    """The typed options as changes of a record: settings are for new images."""
    from_settings = {p.name for p in context.command.params if setting_source(context, p)}
    typed = {name: value for name, value in flags.values.items() if name not in from_settings}
    axes = flag_values(typed)
    if any(len(values) != 1 for values in axes.values()) or axes.get("count", (1,))[0] != 1:
        raise _several_images_error(purpose)
    return {name: values[0] for name, values in axes.items()}


def _several_images_error(purpose: str) -> UsageError:
    return UsageError(
        f"{purpose} one image, and these options ask for several",
        code="usage.count",
        hint="leave out --count and lists of values",
    )
