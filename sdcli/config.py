"""Read defaults of options from `sdcli.toml`, the user's configuration folder and variables.

The top level of a file applies to all commands that have the option, a table with a command's name
to that command. `[profile.NAME]` has the same structure, and applies when NAME is chosen.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sdcli.errors import UsageError, closest, did_you_mean, quoted
from sdcli.inputs.paths import home_folder
from sdcli.inputs.regular_file import read_regular, special_kind

FILE_NAME: Final = "sdcli.toml"
VARIABLE_PREFIX: Final = "SDCLI_"
_CODE: Final = "usage.config"
_HUGE: Final = 10**40
PROFILE: Final = "profile"
MAX_PIXELS: Final = "max_pixels"
WORKER_IDLE: Final = "worker_idle"
_NOT_OPTIONS: Final = (PROFILE, MAX_PIXELS, WORKER_IDLE)
"""Names of variables that have no option: they are read where they apply."""

# The steps of an image are not those of a training.
_OF_TABLE_ONLY: Final = {"train-lora": frozenset({"steps", "batch_size", "seed", "out"})}
"""Options that only the table of their command sets: at the top they are about images."""

Commands = Mapping[str, frozenset[str]]
"""The options of each command, by their parameter names: `batch_size`."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A default of an option and its source, for one command or (None) for all that have it."""

    option: str
    value: Any
    source: str
    command: str | None = None


def load_settings(commands: Commands, profile: str | None = None) -> list[Setting]:
    """Load all settings that apply in the current folder, in increasing precedence.

    These are the user's file, ./sdcli.toml, then variables; within a file, the chosen profile comes
    last, and a command's table after the top level. Raises UsageError for an unreadable file, an
    unknown command or option, and a profile that no file has.
    """
    settings: list[Setting] = []
    known_profiles: set[str] = set()
    for path in config_files():
        data = _read_toml(path)
        profiles = data.pop(PROFILE, {})
        if not isinstance(profiles, dict):
            raise _config_error(str(path), PROFILE, "is not a table of profiles")
        known_profiles |= set(profiles)
        settings += _table_settings(data, str(path), commands)
        if profile in profiles:
            source = f"{path} [{PROFILE}.{profile}]"
            settings += _table_settings(profiles[profile], source, commands)
    if profile is not None and profile not in known_profiles:
        raise UsageError(
            f"--profile: profile {quoted(profile)} not found",
            code="usage.profile",
            hint=did_you_mean(profile, known_profiles)
            or f"add [{PROFILE}.{profile}] to {FILE_NAME}",
        )
    return [*settings, *_environment_settings(commands)]


def has_settings(profile: str | None) -> bool:
    """Whether there are any settings to load, or a profile is chosen."""
    return bool(
        profile is not None
        or config_files()
        # SDCLI_PROFILE is the default of --profile, not a setting.
        or any(
            name.startswith(VARIABLE_PREFIX) and name != f"{VARIABLE_PREFIX}PROFILE"
            for name in os.environ
        )
    )


def find_in_files(option: str, command: str, profile: str | None) -> Any:
    """Return the value that the files give a command's option, without knowing any option.

    None without a value, also for a file with a mistake, which `load_settings` reports.
    """
    value = None
    try:
        for path in config_files():
            data = _read_toml(path)
            profiles = data.get(PROFILE, {})
            for table in (data, profiles.get(profile, {})):
                for values in (table, table.get(command, {})):
                    value = values.get(option, value)
    except (UsageError, AttributeError):
        return None
    return value


def config_files() -> list[Path]:
    """Return the existing configuration files: the user's, then that of the current folder."""
    home = home_folder()
    folder = os.environ.get("XDG_CONFIG_HOME") or (home and home / ".config")
    users = [Path(folder) / "sdcli" / FILE_NAME] if folder else []
    return [path for path in (*users, Path(FILE_NAME)) if _exists(path)]


def _exists(path: Path) -> bool:
    """Whether there is a file, or a pipe or device in its place, to be refused when it is read."""
    kind = special_kind(path)
    # A link to /dev/null is the customary way to switch a configuration file off.
    try:
        return path.is_file() if kind in (None, "a folder") else path.resolve() != Path(os.devnull)
    except OSError:
        # In a folder that can't be searched, as HOME may be, there is no file.
        return False


def for_command(
    settings: list[Setting], command: str, options: frozenset[str]
) -> dict[str, Setting]:
    """Return the settings of one command by option, those that come last winning."""
    own = _OF_TABLE_ONLY.get(command, frozenset())
    return {
        setting.option: setting
        for setting in settings
        if setting.option in options
        and (setting.command == command or (setting.command is None and setting.option not in own))
    }


def _read_toml(path: Path) -> dict[str, Any]:
    # Imported only if there is a file, because every command starts here.
    import tomllib

    from sdcli.inputs.syntax_errors import describe_toml_error
    from sdcli.inputs.text_decoding import decode_text

    try:
        text = decode_text(read_regular(path), str(path), code=_CODE)
    except OSError as error:
        reason = error.strerror or "unknown error"
        hint = "make it readable, or remove it"
        raise UsageError(f"{path}: cannot be read: {reason}", code=_CODE, hint=hint) from error
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        message, line, column = describe_toml_error(text, error)
        place = f"{path}:{line}:{column}" if line else f"{path}:{len(text.splitlines())}"
        hint = "option names are written as in steps = 20, text in quotes"
        raise UsageError(f"{place}: invalid TOML: {message}", code=_CODE, hint=hint) from error


def _table_settings(data: object, source: str, commands: Commands) -> list[Setting]:
    """Return the settings of a table, then those of its tables for commands."""
    if not isinstance(data, dict):
        raise UsageError(f"{source}: not a table", code=_CODE)
    tables = {key: value for key, value in data.items() if isinstance(value, dict)}
    values = {key: value for key, value in data.items() if key not in tables}
    options = frozenset().union(*commands.values())
    # A command's name is suggested, too: `generate = 3` is a mistake for a table.
    settings = list(_value_settings(values, source, options, known=options | set(commands)))
    for command, table in tables.items():
        if command not in commands:
            hint = _command_hint(command, commands)
            raise _config_error(source, command, "is not a command", hint)
        settings += _value_settings(table, f"{source} [{command}]", commands[command], command)
    return settings


def _value_settings(
    values: Mapping[str, Any],
    source: str,
    options: frozenset[str],
    command: str | None = None,
    *,
    known: frozenset[str] | None = None,
) -> Iterator[Setting]:
    """Yield a setting for each value. `known` are the names to suggest, by default `options`."""
    for key, value in values.items():
        option = key.replace("-", "_")
        if option not in options:
            hint = _option_hint(option, options, known or options)
            raise _config_error(source, key, "is not an option", hint)
        for item in value if isinstance(value, list) else [value]:
            if problem := _find_problem(item):
                raise _config_error(source, key, problem)
        yield Setting(option=option, value=value, source=source, command=command)


def _find_problem(value: object) -> str | None:
    """Return why a value cannot be written on the command line, None if it can."""
    if isinstance(value, float) and math.isnan(value):
        return "is nan, which is not a number"
    # TOML reads a number that is too large for Python's floats as infinity.
    if isinstance(value, float) and math.isinf(value):
        return "is infinite, or too large a number"
    # Python does not even write a number of more than 4300 digits.
    if isinstance(value, int | float) and abs(value) >= _HUGE:
        return "is too large a number"
    if isinstance(value, str) and "\0" in value:
        return "has a NUL character, which no text has"
    # TOML also has dates and tables.
    is_plain = isinstance(value, int | float | str)
    return None if is_plain else "is not text, a number, true or false, or a list"


def _environment_settings(commands: Commands) -> Iterator[Setting]:
    """Yield the settings of SDCLI_* variables, which apply to all commands."""
    options = frozenset().union(*commands.values())
    for name, value in sorted(os.environ.items()):
        option = name.removeprefix(VARIABLE_PREFIX).lower()
        if not name.startswith(VARIABLE_PREFIX) or option in _NOT_OPTIONS:
            continue
        if option not in options:
            hint = _option_hint(option, options, options | {PROFILE}, VARIABLE_PREFIX)
            raise _config_error("the environment", name, "is not an option", hint)
        yield Setting(option=option, value=value, source=name)


def _command_hint(command: str, commands: Commands) -> str | None:
    from sdcli.catalog.synonyms import find_command

    if (synonym := find_command(command)) and synonym.ours in commands:
        return f"sdcli calls it {synonym.ours}"
    return did_you_mean(command, commands)


def _option_hint(
    option: str, options: frozenset[str], known: frozenset[str], prefix: str = ""
) -> str | None:
    """The hint for an unknown option; a `prefix` makes the names in it those of variables."""
    # The table of other tools' words is only read for an unknown name.
    from sdcli.catalog.synonyms import find_option

    def spell(name: str) -> str:
        return f"{prefix}{name.upper()}" if prefix else name

    if synonym := find_option(option):
        ours = (synonym.ours or "").removeprefix("--").replace("-", "_")
        if ours in options:
            return f"sdcli calls it {spell(ours)}"
        return synonym.note
    near = closest(option, known)
    return f"did you mean {spell(near)}?" if near else None


def _config_error(source: str, key: str, reason: str, hint: str | None = None) -> UsageError:
    return UsageError(f"{source}: {quoted(key)} {reason}", code=_CODE, hint=hint)
