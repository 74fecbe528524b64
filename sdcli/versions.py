"""Versions of sdcli and of the libraries below it, read without importing them."""

from __future__ import annotations

from functools import cache

__version__ = "0.1.0"

PACKAGES = ("diffusers", "transformers", "accelerate", "torch", "numpy", "safetensors")


@cache
def library_versions() -> dict[str, str]:
    """Package name -> installed version, for the record; what is not installed is left out."""
    from importlib.metadata import PackageNotFoundError, version  # slow to import

    found = {"sdcli": __version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
