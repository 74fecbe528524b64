"""Test that files of latents are valid after every tensor, and complete or gone at the end."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from sdcli.errors import OutputError, UsageError
from sdcli.result import SavedImage
from sdcli.storage.latents.reader import read_latents_file
from sdcli.storage.latents.writer import LatentsWriter
from tests.jobs import make_result, make_run
from tests.storage.latents_files import ALL, SHAPE, VERSIONS, fill, write_complete_file


def test_the_file_is_valid_after_every_tensor(tmp_path: Path) -> None:
    with LatentsWriter(tmp_path, ALL, VERSIONS) as writer:
        writer.begin_image(make_run())
        for count, name in enumerate(ALL.tensor_names(4), 1):
            writer.write(0, name, np.zeros(SHAPE, np.float16))
            [part] = tmp_path.iterdir()
            assert len(load_file(part)) == count
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_run_keeps_its_steps(tmp_path: Path) -> None:
    with LatentsWriter(tmp_path, ALL, VERSIONS) as writer:
        writer.begin_image(make_run())
        arrays = fill(writer, ALL.tensor_names(4)[:7])
        [path] = writer.salvage_all()
    dump = read_latents_file(path)
    assert set(dump.tensors) == set(arrays)
    assert not dump.is_complete
    with pytest.raises(UsageError, match="interrupted"):
        dump.final()


def test_latents_that_are_not_saved_are_kept_only_when_their_image_fails(tmp_path: Path) -> None:
    with LatentsWriter(tmp_path, None, VERSIONS) as writer:
        for index in range(3):
            writer.begin_image(make_run(index=index))
        fill(writer, ["final"], 0)
        fill(writer, ["final"], 1)
        written = SavedImage(path=str(tmp_path / "a.png"), result=make_result(index=0))
        assert writer.finish(written) is None
        path = writer.salvage(1)
        assert writer.salvage(2) is None
    assert path is not None
    assert list(tmp_path.iterdir()) == [Path(path)]
    assert read_latents_file(path).is_complete


def test_final_latents_survive_an_unexpected_exception(tmp_path: Path) -> None:
    with suppress(ZeroDivisionError), LatentsWriter(tmp_path, None, VERSIONS) as writer:
        writer.begin_image(make_run())
        fill(writer, ["final"])
        raise ZeroDivisionError
    [path] = tmp_path.iterdir()
    assert read_latents_file(path).is_complete


def test_an_image_that_begins_again_drops_its_tensors(tmp_path: Path) -> None:
    with LatentsWriter(tmp_path, ALL, VERSIONS) as writer:
        writer.begin_image(make_run())
        fill(writer, ["noise", "xt_0001"])
        writer.begin_image(make_run())
        fill(writer, ["noise"])
        [path] = writer.salvage_all()
    assert set(read_latents_file(path).tensors) == {"noise"}


def test_a_record_longer_than_the_reserved_header_fits(tmp_path: Path) -> None:
    result = make_result(events=("e" * 20_000,))
    with LatentsWriter(tmp_path, ALL, VERSIONS) as writer:
        writer.begin_image(make_run())
        arrays = fill(writer, ALL.tensor_names(4))
        path = writer.finish(SavedImage(path=str(tmp_path / "a.png"), result=result))
    assert path is not None
    assert read_latents_file(path).record["events"] == list(result.events)
    with safe_open(path, framework="numpy") as file:
        assert all(np.array_equal(file.get_tensor(n), a) for n, a in arrays.items())


def test_latents_get_a_numbered_name_when_theirs_exists(tmp_path: Path) -> None:
    existing = write_complete_file(tmp_path)
    before = existing.read_bytes()
    with LatentsWriter(tmp_path, ALL, VERSIONS) as writer:
        writer.begin_image(make_run())
        fill(writer, ALL.tensor_names(4))
        path = writer.finish(SavedImage(path=str(tmp_path / "a.png"), result=make_result()))
    assert path == str(tmp_path / "0001-a.latents.safetensors")
    assert existing.read_bytes() == before
    assert read_latents_file(path).is_complete


@pytest.mark.parametrize("fitting", [0, 1, 5])
def test_steps_that_fit_on_a_full_disk_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fitting: int
) -> None:
    """A limit on file sizes stands in for a full disk: the write fails half-way."""
    import resource
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    names = ALL.tensor_names(4)
    with LatentsWriter(tmp_path, ALL, VERSIONS) as writer:
        writer.begin_image(make_run())
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        [image] = writer._images.values()
        size = 4 * int(np.prod(SHAPE))
        limit = image.appender.path.stat().st_size + fitting * size + size // 2
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        try:
            with pytest.raises(OutputError):
                fill(writer, names)
            kept = writer.salvage(0)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    if not fitting:
        assert kept is None
        assert list(tmp_path.iterdir()) == []
        return
    assert kept is not None
    assert set(load_file(kept)) == set(names[:fitting])
    assert not read_latents_file(kept).is_complete
