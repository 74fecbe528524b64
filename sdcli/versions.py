"""The libraries below us, by name and version, without importing them."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version

import sdcli

PACKAGES = ("diffusers", "transformers", "accelerate", "torch", "numpy", "safetensors")


@cache
def library_versions() -> dict[str, str]:
    """Package name -> installed version, for the record; what is not installed is left out."""
    found = {"sdcli": sdcli.__version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
