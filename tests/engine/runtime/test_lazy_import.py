"""How the engine imports its libraries leaves the importer's garbage collection as it was."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

import pytest

from sdcli.engine.runtime.lazy_import import _without_garbage_collection


@pytest.fixture(autouse=True)
def collecting() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


@pytest.mark.parametrize("before", [True, False])
def test_collection_is_as_before_also_after_an_error(before: bool) -> None:
    (gc.enable if before else gc.disable)()
    meanwhile = []
    with contextlib.suppress(ImportError), _without_garbage_collection():
        meanwhile.append(gc.isenabled())
        raise ImportError
    assert meanwhile == [False]
    assert gc.isenabled() == before


def test_what_was_imported_counts_as_old_and_can_still_be_collected() -> None:
    with _without_garbage_collection():
        made = [[] for _ in range(1000)]
    assert gc.get_freeze_count() == 0
    assert any(thing is made for thing in gc.get_objects(generation=2))


def test_what_the_importer_froze_stays_frozen() -> None:
    gc.freeze()
    with _without_garbage_collection():
        pass
    assert gc.get_freeze_count() > 0
