"""Schedulers that need packages which sdcli does not install."""

from __future__ import annotations

import pytest

from sdcli.catalog.schedulers.resolve import resolve_scheduler
from sdcli.errors import UsageError


@pytest.mark.parametrize(("name", "package"), [("DPM++ SDE", "torchsde"), ("Euler Beta", "scipy")])
def test_a_missing_package_is_named(monkeypatch, name, package):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=f"requires the package {package}") as caught:
        resolve_scheduler(name)
    assert caught.value.code == "scheduler.package"
    assert caught.value.hint == f"pip install {package}"
