"""Settings: defaults for options from `sdcli.toml`, the user's config folder and SDCLI_* variables.

A file's top level counts for every command that has the option, a table named like a command for
that one, and `[profile.NAME]` holds the same again for when NAME is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sdcli.errors import UsageError, did_you_mean

FILE: Final = "sdcli.toml"
PREFIX: Final = "SDCLI_"
PROFILE: Final = "profile"

Commands = Mapping[str, frozenset[str]]
"""The options of each command, as parameters are spelled: `batch_size`."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One default: of an option of `command` (None: of all that have it), and where it is from."""

    option: str
    value: Any
    source: str
    command: str | None = None


def load_settings(commands: Commands, profile: str | None = None) -> list[Setting]:
    """All settings that hold here, the weakest first.

    The user's file, ./sdcli.toml, then variables; in a file, the profile after the rest, and a
    command's own table after the top level. Raises UsageError for what is no setting of any
    command, and for a profile that no file has.
    """
    found: list[Setting] = []
    profiles: set[str] = set()
    for path in config_files():
        data = _read_toml(path)
        own = data.pop(PROFILE, {})
        if not isinstance(own, dict):
            raise _config_error(str(path), PROFILE, "is not a table of profiles")
        profiles |= set(own)
        found += _table_settings(data, str(path), commands)
        if profile in own:
            found += _table_settings(own[profile], f"{path} [{PROFILE}.{profile}]", commands)
    if profile is not None and profile not in profiles:
        raise UsageError(
            f"--profile: no file has a profile {profile!r}",
            code="usage.profile",
            hint=did_you_mean(profile, profiles) or f"put [{PROFILE}.{profile}] into {FILE}",
        )
    return [*found, *_environment_settings(commands)]


def has_settings(profile: str | None) -> bool:
    """Whether anything is set, or a profile was asked for."""
    return bool(
        profile is not None
        or config_files()
        or any(name.startswith(PREFIX) and name != f"{PREFIX}PROFILE" for name in os.environ)
    )


def config_files() -> list[Path]:
    """The files that there are: the user's own, then the folder's."""
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return [path for path in (Path(home) / "sdcli" / FILE, Path(FILE)) if path.is_file()]


def for_command(found: list[Setting], command: str, options: frozenset[str]) -> dict[str, Setting]:
    """The settings of one command by option, the strongest of each."""
    return {
        setting.option: setting
        for setting in found
        if setting.option in options and setting.command in (None, command)
    }


def _read_toml(path: Path) -> dict[str, Any]:
    import tomllib  # only where there is a file: start-up counts

    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: {error}", code="usage.config") from error


def _table_settings(data: object, source: str, commands: Commands) -> list[Setting]:
    """A table's own settings, then those of its commands' tables."""
    if not isinstance(data, dict):
        raise UsageError(f"{source}: not a table", code="usage.config")
    tables = {key: value for key, value in data.items() if isinstance(value, dict)}
    every = frozenset().union(*commands.values())
    flat = {key: value for key, value in data.items() if key not in tables}
    found = list(_key_settings(flat, source, every, None, known=every | set(commands)))
    for command, table in tables.items():
        if command not in commands:
            raise _config_error(source, command, "is no command", did_you_mean(command, commands))
        own = commands[command]
        found += _key_settings(table, f"{source} [{command}]", own, command, known=own)
    return found


def _key_settings(
    data: Mapping[str, Any],
    source: str,
    options: frozenset[str],
    command: str | None,
    *,
    known: frozenset[str],
) -> Iterator[Setting]:
    for key, value in data.items():
        option = key.replace("-", "_")
        if option not in options:
            raise _config_error(source, key, "is no option", did_you_mean(option, known))
        yield Setting(option=option, value=value, source=source, command=command)


def _environment_settings(commands: Commands) -> Iterator[Setting]:
    options = frozenset().union(*commands.values())
    for name, value in sorted(os.environ.items()):
        option = name.removeprefix(PREFIX).lower()
        if not name.startswith(PREFIX) or option == PROFILE:
            continue
        if option not in options:
            near = did_you_mean(option, options)
            raise _config_error("the environment", name, "is no option", near)
        yield Setting(option=option, value=value, source=name)


def _config_error(source: str, key: str, why: str, hint: str | None = None) -> UsageError:
    return UsageError(f"{source}: {key!r} {why}", code="usage.config", hint=hint)
