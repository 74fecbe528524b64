"""Look up the versions of sdcli and of its libraries without importing them."""

from __future__ import annotations

from functools import cache

__version__ = "0.1.0"

PACKAGES = ("diffusers", "transformers", "accelerate", "torch", "numpy", "safetensors")
"""The libraries that can change an image."""


@cache
def library_versions() -> dict[str, str]:
    """Return the installed version of each package, sdcli included, without missing packages."""
    from importlib.metadata import PackageNotFoundError, version  # slow to import

    versions = {"sdcli": __version__}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions
