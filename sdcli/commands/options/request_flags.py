"""The options that a prompt file can set too, as text: a list or a range of values is a sweep."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import typer

from sdcli.commands.options.completion import complete_scheduler
from sdcli.commands.options.config_defaults import setting_source
from sdcli.commands.options.typer_options import text_parameters
from sdcli.errors import UsageError
from sdcli.inputs.paths import expand_user
from sdcli.prompts.expansion import RequestTemplate
from sdcli.prompts.field_values import flag_values, value_errors
from sdcli.prompts.sweep import PromptReplacement
from sdcli.prompts.wildcards import Wildcards
from sdcli.request import FIELD_TYPES, REQUEST_FIELDS, SIZE_INFO
from sdcli.run_flags import ExpansionFlags

_COMPLETIONS: Mapping[str, Mapping[str, Any]] = {
    "scheduler": {"autocompletion": complete_scheduler}
}


class RequestFlags:
    """The fields of a request on the command line: text, True for a switch, None if left out."""

    def __init__(self, **values: object) -> None:
        self.values = values

    @classmethod
    def option_parameters(cls) -> list[inspect.Parameter]:
        """One option for each field, and --size for width and height."""
        infos = {
            info.option_name: SIZE_INFO if info.flags == SIZE_INFO.flags else info
            for info in REQUEST_FIELDS.values()
            if not info.in_files_only
        }
        types = {info.option_name: FIELD_TYPES[name] for name, info in REQUEST_FIELDS.items()}
        return text_parameters(infos, types, **_COMPLETIONS)

    def with_seed(self, seed: int) -> RequestFlags:
        """The same options with this seed."""
        return RequestFlags(**{**self.values, "seed": str(seed)})

    def has_seed(self) -> bool:
        """Whether a seed was given, other than -1 for a random one."""
        return self.values["seed"] not in (None, "-1")

    def device(self) -> str | None:
        """The device that was asked for, None without a choice."""
        device = self.values["device"]
        return None if device is None else str(device)

    def template(self, context: typer.Context, expansion: ExpansionFlags) -> RequestTemplate:
        """What holds for every request of the run; `context` knows what was typed, what was set.

        Raises UsageError for a value that no request can have, with its source if it is a setting.
        """
        typed, settings = dict(self.values), {}
        for param in context.command.params:
            if param.name in typed and (source := setting_source(context, param)):
                settings[param.name] = _checked_setting(param.name, typed.pop(param.name), source)
        return RequestTemplate(
            flags=flag_values(typed),
            settings=flag_values(settings),
            replacements=[PromptReplacement.parse(text) for text in expansion.replace or ()],
            wildcards=_wildcards(expansion),
        )


def _wildcards(expansion: ExpansionFlags) -> Wildcards | None:
    folder, mode = expansion.wildcards, expansion.wildcard_mode
    if folder is None and mode is None:
        return None
    path = None if folder is None else expand_user(folder)
    return Wildcards(mode="all" if mode == "all" else "random", folder=path)


def _checked_setting(name: str, value: object, source: str) -> object:
    """The value of a setting. Raises UsageError naming its source if no request can have it."""
    try:
        for error in value_errors(flag_values({name: value})).values():
            raise error
    except UsageError as error:
        raise UsageError(f"{source}: {error.message}", code=error.code, hint=error.hint) from error
    return value
