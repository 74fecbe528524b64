"""Expand the paths that users type."""

from __future__ import annotations

import os
from pathlib import Path

from sdcli.errors import UsageError


def expand_user(path: str | Path) -> Path:
    """Return the path with ~ or ~NAME expanded. Raises UsageError for an unknown home folder."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        user = Path(path).parts[0]
        raise UsageError(
            f"{path}: no home folder of {user} is known",
            code="usage.path",
            hint=f"give the whole path, or ./{user} for a folder of that name",
        ) from error


def home_folder() -> Path | None:
    """Return the user's home folder, None where the system knows none."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def cache_folder() -> Path:
    """Return the folder for files that sdcli can make again: $XDG_CACHE_HOME/sdcli."""
    return _cache_home() / "sdcli"


def hub_cache() -> Path:
    """Return the folder in which huggingface_hub keeps models.

    The documented rule: importing huggingface_hub to learn it would take half a second.
    """
    home = os.environ.get("HF_HOME") or _cache_home() / "huggingface"
    names = ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")
    given = (value for name in names if (value := os.environ.get(name)))
    folder = next(given, os.path.join(home, "hub"))
    return Path(os.path.expandvars(os.path.expanduser(folder)))


def _cache_home() -> Path:
    home = os.environ.get("XDG_CACHE_HOME")
    return Path(home) if home else (home_folder() or Path("~")) / ".cache"
