"""Turn settings from sdcli.toml and SDCLI_* variables into typer's defaults."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sdcli import config
from sdcli.errors import UsageError, quoted
from sdcli.inputs.switches import read_switch


class ConfigDefaults:
    """The settings that apply in this folder, and the source of each."""

    def __init__(self, group: Any, profile: str | None) -> None:
        # Looking at the options of every command imports every command: only if it is needed.
        self._commands = dict(_find_commands(group)) if config.has_settings(profile) else {}
        options = {path: frozenset(params) for path, params in self._commands.items()}
        self.settings = config.load_settings(options, profile)

    def for_command(self, command: str) -> dict[str, config.Setting]:
        """The settings of one command, by option."""
        return config.for_command(self.settings, command, frozenset(self._commands[command]))

    def default_map(self) -> dict[str, Any]:
        """Defaults in typer's form: a dictionary for each command, nested for groups."""
        defaults: dict[str, Any] = {}
        for path, params in self._commands.items():
            inner = defaults
            for name in path.split():
                inner = inner.setdefault(name, {})
            for option, setting in self.for_command(path).items():
                inner[option] = _typed_value(setting, params[option])
        return defaults


def _find_commands(group: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each command's path and its options."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _find_commands(command, f"{path}{name} ")
        else:
            options = {p.name: p for p in command.params if p.param_type_name == "option"}
            yield f"{path}{name}", options


def _typed_value(setting: config.Setting, param: Any) -> Any:
    """Convert a value to what the command line would pass. Raises UsageError."""
    value = setting.value
    if param.is_flag:
        if (known := read_switch(value)) is not None:
            return known
        raise UsageError(
            f"{setting.source}: {setting.option}: {quoted(value)} is not true or false",
            code="usage.config",
        )
    if param.multiple and not isinstance(value, list):
        return [str(value)]
    if isinstance(value, list):
        return [str(item) for item in value]
    return str(value)


def setting_source(context: Any, param: Any) -> str | None:
    """The source of a parameter's value if it is a setting, else None."""
    if context is None or param is None or not isinstance(context.find_root().obj, ConfigDefaults):
        return None
    source = context.get_parameter_source(param.name)
    if source is None or source.name != "DEFAULT_MAP":
        return None
    path = context.command_path.partition(" ")[2]
    name: str = context.find_root().obj.for_command(path)[param.name].source
    return name
