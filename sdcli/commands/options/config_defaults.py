"""Defaults of options from `sdcli.config`, as typer takes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sdcli import config
from sdcli.errors import UsageError


class ConfigDefaults:
    """The settings that hold in this folder, by command, and where each is from.

    Where there are none, no command is looked at.
    """

    def __init__(self, group: Any, profile: str | None) -> None:
        self._verbs = dict(_find_commands(group)) if config.has_settings(profile) else {}
        options = {path: frozenset(params) for path, params in self._verbs.items()}
        self.found = config.load_settings(options, profile)

    def for_command(self, command: str) -> dict[str, config.Setting]:
        """The settings of one command by option."""
        return config.for_command(self.found, command, frozenset(self._verbs[command]))

    def default_map(self) -> dict[str, Any]:
        """Defaults as typer takes them: by command, and a group's commands inside its own."""
        found: dict[str, Any] = {}
        for path, params in self._verbs.items():
            inner = found
            for name in path.split():
                inner = inner.setdefault(name, {})
            for option, setting in self.for_command(path).items():
                inner[option] = _typed_value(setting, params[option])
        return found


def _find_commands(group: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every command's path and its options."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _find_commands(command, f"{path}{name} ")
        else:
            options = {p.name: p for p in command.params if p.param_type_name == "option"}
            yield f"{path}{name}", options


_BOOLEANS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def _typed_value(setting: config.Setting, param: Any) -> Any:
    """A value as the command line would have brought it."""
    value = setting.value
    if param.is_flag:
        if (known := _BOOLEANS.get(str(value).lower())) is not None:
            return known
        raise UsageError(
            f"{setting.source}: {setting.option}: {value!r} is not true or false",
            code="usage.config",
        )
    if isinstance(value, list):
        return [str(item) for item in value]
    return str(value)


def setting_source(context: Any, param: Any) -> str | None:
    """Where a setting came from that was not typed."""
    if context is None or param is None or not isinstance(context.find_root().obj, ConfigDefaults):
        return None
    source = context.get_parameter_source(param.name)
    if source is None or source.name != "DEFAULT_MAP":
        return None
    path = context.command_path.partition(" ")[2]
    found: str = context.find_root().obj.for_command(path)[param.name].source
    return found
