"""Read what a command generates: a prompt with options, or an image that sdcli made."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import typer

from sdcli.commands.options.config_defaults import setting_source
from sdcli.commands.options.request_flags import RequestFlags
from sdcli.errors import UsageError
from sdcli.inputs.paths import expand_user
from sdcli.request import GenerationRequest
from sdcli.run_flags import ExpansionFlags

if TYPE_CHECKING:
    from sdcli.terminal.console import Console

_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


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
    if path.suffix.lower() in _IMAGE_SUFFIXES and os.path.isfile(path):
        from sdcli.workflows.replay import read_images

        overrides = _typed_overrides(context, flags)
        [image] = read_images([str(path)], overrides, inputs=inputs, warn=console.warn)
        return image.request, None if overrides else image.document["pixels_sha256"]
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
        raise UsageError(
            f"{purpose} one image, and these options ask for several",
            code="usage.count",
            hint="leave out --count and lists of values",
        )
    return requests[0]


def _typed_overrides(context: typer.Context, flags: RequestFlags) -> list[str]:
    """The typed options as changes of a record: settings are for new images."""
    from_settings = {p.name for p in context.command.params if setting_source(context, p)}
    unset = (None, False)
    return [
        f"{name}={str(value).lower() if isinstance(value, bool) else value}"
        for name, value in flags.values.items()
        if value not in unset and name not in from_settings
    ]
