"""Fixtures of the catalog tests."""

from __future__ import annotations

import pytest

from sdcli.catalog.schedulers import resolve


@pytest.fixture
def all_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resolve every scheduler, whether or not its optional packages are installed."""
    monkeypatch.setattr(resolve, "_check_package", lambda package, row: None)
