"""Read and write the objects of a store behind a URL, through fsspec."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from sdcli.errors import OutputError, SdcliError, UsageError
from sdcli.storage import files

_UNABLE: Final = (NotImplementedError, TypeError, AttributeError)
"""What classes of fsspec raise that can't write, or need more than a URL."""

_READ_ONLY: Final = frozenset(
    {
        "http",
        "https",
        "git",
        "github",
        "gist",
        "data",
        "reference",
        "tar",
        "zip",
        "libarchive",
        "dvc",
    }
)
"""What fsspec can only read from."""

_OBJECT_STORES: Final = frozenset(
    {"s3", "s3a", "gs", "gcs", "az", "abfs", "adl", "oci", "ocilake", "oss", "tos", "tosfs"}
)
"""Stores that have buckets, but no folders within."""

_PACKAGES: Final = {
    **dict.fromkeys(("sftp", "ssh"), "paramiko"),
    **dict.fromkeys(("hdfs", "arrow_hdfs"), "pyarrow"),
    **dict.fromkeys(("webhdfs", "dbfs", "jupyter", "jlab"), "requests"),
    "smb": "smbprotocol",
    "dask": "distributed",
}
"""Packages that fsspec's own stores need. Other stores are in the package that fsspec names."""

_HINT: Final = "sdcli help clusters lists the stores that can be written to"


class RemoteStore:
    """The objects whose names begin with a URL, such as s3://bucket/folder.

    Writing an object replaces it as a whole. Raises OutputError, and UsageError for a URL that
    fsspec can't open.
    """

    def __init__(self, url: str) -> None:
        protocol, separator, path = url.partition("://")
        self.url = f"{protocol}{separator}{path.rstrip('/')}"
        self._files, self._root = _open(self.url)
        self._has_folders = _chain(self.url)[-1] not in _OBJECT_STORES

    def url_of(self, name: str) -> str:
        """The URL of an object."""
        return f"{self.url}/{name}"

    def put(self, name: str, data: bytes) -> None:
        """Write an object."""
        with _errors_as_output_errors(self.url_of(name)):
            # In a store of objects, this would create the bucket that a mistyped URL names.
            if self._has_folders:
                with suppress(NotImplementedError):
                    self._files.makedirs(self._path(name).rpartition("/")[0], exist_ok=True)
            self._files.pipe_file(self._path(name), data)

    def get(self, name: str) -> bytes:
        """The bytes of an object."""
        with _errors_as_output_errors(self.url_of(name)):
            return bytes(self._files.cat_file(self._path(name)))

    def size(self, name: str) -> int | None:
        """The size of an object in bytes, None without one."""
        with suppress(FileNotFoundError), _errors_as_output_errors(self.url_of(name), missing=True):
            self._files.invalidate_cache()
            return int(self._files.info(self._path(name))["size"])
        return None

    def sizes(self, folder: str = "") -> dict[str, int]:
        """The names and sizes of the objects right in a folder, in the order of the names."""
        path = self._path(folder) if folder else self._root
        url = self.url_of(folder)
        with suppress(FileNotFoundError), _errors_as_output_errors(url, missing=True):
            self._files.invalidate_cache()
            entries = self._files.ls(path, detail=True)
            sizes = {_name(entry): entry["size"] for entry in entries if entry["type"] == "file"}
            return dict(sorted(sizes.items()))
        return {}

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


def _name(entry: dict[str, Any]) -> str:
    return str(entry["name"]).rpartition("/")[2]


def _open(url: str) -> tuple[Any, str]:
    import fsspec

    *_, protocol = chain = _chain(url)
    for name in _READ_ONLY.intersection(chain):
        raise _usage_error(url, f"{name}:// can be read, but not written to")
    try:
        system, root = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise _missing_package_error(url, protocol) from error
    except ValueError as error:
        if protocol in fsspec.available_protocols():
            raise _unable_error(url) from error
        raise _usage_error(url, f"{protocol}:// is not a known kind of store") from error
    except Exception as error:
        raise _output_error(url, error) from error
    if not root.strip("/"):
        raise _usage_error(url, "no folder is named", f"e.g. {protocol}://NAME/run")
    _quiet(system)
    return system, root.rstrip("/")


def _quiet(system: Any) -> None:
    """Keep what the package of a store logs, tracebacks too, from stderr; errors are raised."""
    logger = logging.getLogger(type(system).__module__.partition(".")[0])
    if not logger.hasHandlers():
        logger.addHandler(logging.NullHandler())


def _chain(url: str) -> list[str]:
    """The protocols of a URL: the last one is the store, as in simplecache::s3."""
    return url.partition("://")[0].lower().split("::")


def _missing_package_error(url: str, protocol: str) -> UsageError:
    from fsspec.registry import known_implementations

    found = known_implementations.get(protocol, {}).get("class", "").partition(".")[0]
    package = _PACKAGES.get(protocol) or found.replace("_", "-")
    return _usage_error(url, f"{protocol}:// needs the package {package}", f"pip install {package}")


def _unable_error(url: str) -> UsageError:
    protocol = url.partition("://")[0]
    return _usage_error(url, f"fsspec can't write to {protocol}:// by the URL alone")


def _usage_error(url: str, reason: str, hint: str = _HINT) -> UsageError:
    return UsageError(f"--out {url}: {reason}", code="usage.out", hint=hint)


@contextmanager
def _errors_as_output_errors(url: str, *, missing: bool = False) -> Iterator[None]:
    """Translate whatever a store raises; with `missing`, FileNotFoundError passes."""
    try:
        yield
    except Exception as error:
        if missing and isinstance(error, FileNotFoundError):
            raise
        raise _output_error(url, error) from error


def _output_error(url: str, error: Exception) -> SdcliError:
    if isinstance(error, _UNABLE):
        return _unable_error(url)
    # Each store has exceptions of its own.
    first = next(iter(str(error).splitlines()), "") or type(error).__name__
    if isinstance(error, OSError) and error.errno is not None:
        with suppress(BrokenPipeError), files.os_errors_as_output_errors(url):
            raise error
    return OutputError(
        f"{url}: {first}",
        code="output.remote",
        hint="is the address right, and can you write there?",
    )
