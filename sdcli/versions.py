"""Look up the versions of sdcli and of its libraries without importing them."""

from __future__ import annotations

from functools import cache

__version__ = "0.1.0"

PACKAGES = ("diffusers", "transformers", "accelerate", "torch", "numpy", "safetensors")
"""The libraries that can change an image."""


@cache
def library_versions() -> dict[str, str]:
    """Return the installed version of each package, sdcli included, without missing packages."""
    return {"sdcli": __version__, **_installed(*PACKAGES)}


@cache
def backend_versions(backend: str) -> dict[str, str]:
    """Return the version of a backend that is none of the libraries of every run."""
    return {} if backend in PACKAGES else _installed(backend)


def _installed(*packages: str) -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version  # slow to import

    versions = {}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions
