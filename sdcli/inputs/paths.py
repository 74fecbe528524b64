"""Expand the paths that users type."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from sdcli.errors import UsageError

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+(?:::[A-Za-z0-9+.-]+)*)://")
_ONE_SLASH: Final = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+:)/")
_LOCAL: Final = ("file", "local")
_STORES: Final = (
    *("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oss", "oci", "tos", "memory", "hf"),
    *("hdfs", "webhdfs", "dbfs", "lakefs", "ftp", "sftp", "ssh", "smb", "webdav", "http", "https"),
)
_MISTYPED: Final = re.compile(
    rf"((?:[a-z0-9]+::)*(?:{'|'.join((*_STORES, *_LOCAL))})):(?!//)(.*)", re.IGNORECASE | re.DOTALL
)
_WEB: Final = re.compile(r"(https?):/+", re.IGNORECASE)
_FILE: Final = "write file:// and the whole path: file:///home/me/run"
_NO_URL: Final = "URLs are for --out of sdcli batch; copy other files with the store's own program"


def is_url(text: str | Path) -> bool:
    """Whether a text names something in a store, and no file of this machine."""
    match = _SCHEME.match(text) if isinstance(text, str) else None
    return match is not None and match[1].lower() not in _LOCAL


def expand_user(path: str | Path) -> Path:
    """Return the path with ~ or ~NAME expanded, or that of a file:// URL.

    Raises UsageError for an unknown home folder, and for URLs of stores.
    """
    text = path if isinstance(path, str) else _with_slashes(path)
    _check_scheme(text)
    if match := _SCHEME.match(text):
        path = _path_of_url(text, match[1].lower())
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        user = Path(path).parts[0]
        raise UsageError(
            f"{path}: no home folder of {user} is known",
            code="usage.path",
            hint=f"give the whole path, or ./{user} for a folder of that name",
        ) from error


def output_path(path: str | Path) -> Path:
    """Return the path of a file or folder to write, as `expand_user` does.

    Raises UsageError for addresses of the web, too.
    """
    text = str(path)
    if _WEB.match(text) and not _is_present(text):
        url = _WEB.sub(r"\1://", text)
        raise UsageError(f"{url}: can't write to the web", code="usage.url", hint=_NO_URL)
    return expand_user(path)


def lasting_name(name: str) -> str:
    """Return the name that finds a model from every folder: its absolute path, or its id."""
    path = expand_user(name)
    return str(path.absolute()) if path.exists() else name


def _path_of_url(url: str, scheme: str) -> str:
    if scheme in _LOCAL:
        parts = urlsplit(url)
        if parts.netloc not in ("", "localhost") or not parts.path:
            raise UsageError(f"{url}: not a path of this machine", code="usage.path", hint=_FILE)
        return unquote(parts.path)
    # Whoever takes images or models refuses those of the web in words of its own.
    if scheme not in ("http", "https"):
        raise UsageError(
            f"{url.replace(':///', '://')}: a URL can't be used here, only files of this machine",
            code="usage.url",
            hint=_NO_URL,
        )
    return url


def _check_scheme(text: str) -> None:
    """Raise UsageError for a URL without its slashes, which would name a file of this machine."""
    match = _MISTYPED.match(text)
    if not match or _is_present(text):
        return
    scheme, rest = match[1], match[2]
    url = f"write {scheme}://{rest.lstrip('/')}"
    if scheme.lower() in _LOCAL:
        url = f"write {scheme}://{rest}" if rest.startswith("/") else _FILE
    raise UsageError(
        f"{text}: a URL has :// after {scheme}",
        code="usage.url",
        hint=f"{url}; a file or folder of this name is ./{text}",
    )


def _with_slashes(path: Path) -> str:
    """The text of a path, which has only one slash left if it was made of a URL."""
    text = str(path)
    if not _ONE_SLASH.match(text) or _is_present(text):
        return text
    return _ONE_SLASH.sub(r"\1///", text)


def _is_present(path: str) -> bool:
    """Whether the first folder of a path is there, although it may look like a URL."""
    return os.path.lexists(path.partition("/")[0])


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
