"""Merged folders: counts by what is on disk. The folders have images without a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdcli.shard import WHOLE_RUN, Shard
from sdcli.storage.images.destination import parse_destination
from sdcli.storage.images.writer import image_bytes
from sdcli.storage.jobs.store import JobStore
from sdcli.workflows.merge_folders import Merge, merge_folders
from tests.jobs import make_result

IMAGES = 5


def write(
    folder: Path, shard: Shard = WHOLE_RUN, images: int = IMAGES, first_seed: int = 0
) -> None:
    """Write a share of a run as a batch does."""
    destination = parse_destination(str(folder), several=True, force=False)
    store = JobStore(destination, shard=shard)
    if not shard.is_whole_run:
        store.begin_shard(images, warn_unseeded=False)
    for index in filter(shard.contains, range(images)):
        result = make_result(index=index, seed=first_seed + index)
        data = image_bytes(result, destination, versions={}, metadata=True)
        store.save_image(result, data, store.take_path(result.job))
    store.close()


def merge(out: Path, *sources: Path) -> Merge:
    return merge_folders(sources, out, pytest.fail)


def test_an_image_that_was_removed_after_a_merge_is_missing(tmp_path: Path) -> None:
    a, b, out = (tmp_path / name for name in ("a", "b", "all"))
    write(a, Shard(rank=0, world_size=2))
    write(b, Shard(rank=1, world_size=2))
    merged = merge(out, a, b)
    assert (merged.exit_code, merged.to_dict()["images"], merged.missing) == (0, 5, [])
    min(out.glob("*.png")).unlink()
    merged = merge(out, b)
    assert (merged.exit_code, merged.to_dict()["images"], merged.missing) == (9, 4, [0])
    assert merged.missing_by_shard() == {"1/2": 1}
    merged = merge(out, a)
    assert (merged.folders[0].copied, merged.missing) == (1, [])


def test_images_of_several_runs_are_all_counted(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    write(a, images=2)
    write(b, images=3, first_seed=100)
    out = tmp_path / "all"
    merged = merge(out, a, b)
    assert merged.to_dict()["images"] == len([*out.glob("*.png")]) == 5


def test_shards_of_runs_with_other_seeds_are_told_apart(tmp_path: Path) -> None:
    a, b, other = (tmp_path / name for name in ("a", "b", "other"))
    write(a, Shard(rank=0, world_size=2))
    write(b, Shard(rank=1, world_size=2))
    write(other, Shard(rank=0, world_size=2), first_seed=100)
    warnings: list[str] = []
    merged = merge_folders([a, b, other], tmp_path / "all", warnings.append)
    assert warnings == ["the folders hold shards of different runs: what is missing is not known"]
    assert merged.to_dict()["expected"] is None
