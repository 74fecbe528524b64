"""Versions of sdcli and its libraries."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import pytest

from sdcli.versions import PACKAGES, __version__, library_versions


@pytest.fixture(autouse=True)
def no_cache():
    library_versions.cache_clear()
    yield
    library_versions.cache_clear()


def test_every_library_is_listed_after_sdcli():
    versions = library_versions()
    assert list(versions) == ["sdcli", *PACKAGES]
    assert versions["sdcli"] == __version__
    assert versions["torch"] == version("torch")


def test_a_missing_package_is_left_out(monkeypatch):
    def without_accelerate(name: str) -> str:
        if name == "accelerate":
            raise PackageNotFoundError(name)
        return version(name)

    monkeypatch.setattr("importlib.metadata.version", without_accelerate)
    assert set(library_versions()) == {"sdcli", *PACKAGES} - {"accelerate"}
