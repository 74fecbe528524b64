"""Files of latents: valid after every tensor, read strictly, never half there."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save

from sdcli.errors import CorruptError, OutputError, UsageError
from sdcli.latents import LatentsSelection
from sdcli.result import RunInfo, SavedImage
from sdcli.storage.latents.reader import read_latents_file
from sdcli.storage.latents.writer import SCHEMA, LatentsWriter
from sdcli.storage.metadata import record
from tests.jobs import make_job, make_result

VERSIONS = {"sdcli": "0"}
ALL = LatentsSelection.parse("all")
SHAPE = (4, 8, 8)


def course(**changes: Any) -> RunInfo:
    result = make_result(**changes)
    return RunInfo(
        job=result.job,
        timesteps=result.run.timesteps,
        sigmas=None,
        scheduler_class=result.run.scheduler_class,
        scheduler_config=result.run.scheduler_config,
        init_noise_sigma=2.0,
        batch_size=1,
        dtype="float32",
        device="cpu",
    )


def fill(sink: LatentsWriter, names: list[str], index: int = 0) -> dict[str, Any]:
    arrays = {n: np.full(SHAPE, i, np.float32) for i, n in enumerate(names, 1)}
    for name, array in arrays.items():
        sink.write(index, name, array)
    return arrays


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """A dump of all four steps, beside its image."""
    with LatentsWriter(tmp_path, ALL, VERSIONS) as sink:
        sink.begin_image(course())
        fill(sink, ALL.tensor_names(4))
        written = SavedImage(path=str(tmp_path / "a.png"), result=make_result())
        return Path(sink.finish(written) or "")


def test_what_was_taken_comes_back_with_the_record(whole: Path, tmp_path: Path) -> None:
    assert whole == tmp_path / "a.latents.safetensors"
    dump = read_latents_file(whole)
    assert dump.record == json.loads(json.dumps(record.make_record(make_result(), VERSIONS)))
    assert (dump.num_steps, dump.image, dump.shape, dump.is_complete) == (4, "a.png", SHAPE, True)
    names = ALL.tensor_names(4)
    library = load_file(whole)
    assert list(dump.tensors) == names
    for name in names:
        assert np.array_equal(dump.tensor_by_name(name), library[name])
    assert np.array_equal(dump.tensor("xt", 0), 2 * library["noise"])
    assert np.array_equal(dump.tensor("xt", 4), library["final"])
    assert dump.request.prompt == make_job().prompt
    assert list(tmp_path.iterdir()) == [whole]


def test_the_image_names_the_file_beside_it(whole: Path, tmp_path: Path) -> None:
    assert read_latents_file(tmp_path / "a.png").path == whole
    with pytest.raises(UsageError, match="no file at"):
        read_latents_file(tmp_path / "b.png")
    (tmp_path / "b.png").touch()
    with pytest.raises(UsageError, match="no latents lie beside"):
        read_latents_file(tmp_path / "b.png")


def test_the_growing_file_is_valid_after_every_tensor(tmp_path: Path) -> None:
    with LatentsWriter(tmp_path, ALL, VERSIONS) as sink:
        sink.begin_image(course())
        for count, name in enumerate(ALL.tensor_names(4), 1):
            sink.write(0, name, np.zeros(SHAPE, np.float16))
            [part] = tmp_path.iterdir()
            assert len(load_file(part)) == count
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_run_keeps_its_steps(tmp_path: Path) -> None:
    with LatentsWriter(tmp_path, ALL, VERSIONS) as sink:
        sink.begin_image(course())
        taken = fill(sink, ALL.tensor_names(4)[:7])
        [path] = sink.salvage_all()
    dump = read_latents_file(path)
    assert set(dump.tensors) == set(taken)
    assert not dump.is_complete
    with pytest.raises(UsageError, match="interrupted"):
        dump.final()


def test_unasked_latents_stay_only_when_their_image_fails(tmp_path: Path) -> None:
    with LatentsWriter(tmp_path, None, VERSIONS) as sink:
        for index in range(3):
            sink.begin_image(course(index=index))
        fill(sink, ["final"], 0)
        fill(sink, ["final"], 1)
        written = SavedImage(path=str(tmp_path / "a.png"), result=make_result(index=0))
        assert sink.finish(written) is None
        path = sink.salvage(1)
        assert sink.salvage(2) is None
    assert path is not None
    assert list(tmp_path.iterdir()) == [Path(path)]
    assert read_latents_file(path).is_complete


def test_a_bug_in_between_costs_no_denoising(tmp_path: Path) -> None:
    with suppress(ZeroDivisionError), LatentsWriter(tmp_path, None, VERSIONS) as sink:
        sink.begin_image(course())
        fill(sink, ["final"])
        raise ZeroDivisionError
    [path] = tmp_path.iterdir()
    assert read_latents_file(path).is_complete


def test_a_batch_that_is_halved_begins_again(tmp_path: Path) -> None:
    with LatentsWriter(tmp_path, ALL, VERSIONS) as sink:
        sink.begin_image(course())
        fill(sink, ["noise", "xt_0001"])
        sink.begin_image(course())
        fill(sink, ["noise"])
        [path] = sink.salvage_all()
    assert set(read_latents_file(path).tensors) == {"noise"}


def test_more_to_say_than_there_was_room_for(tmp_path: Path) -> None:
    result = make_result(events=("e" * 20_000,))
    with LatentsWriter(tmp_path, ALL, VERSIONS) as sink:
        sink.begin_image(course())
        taken = fill(sink, ALL.tensor_names(4))
        path = sink.finish(SavedImage(path=str(tmp_path / "a.png"), result=result))
    assert path is not None
    assert read_latents_file(path).record["events"] == list(result.events)
    with safe_open(path, framework="numpy") as file:
        assert all(np.array_equal(file.get_tensor(n), a) for n, a in taken.items())


def test_latents_whose_name_is_taken_go_to_a_number(whole: Path, tmp_path: Path) -> None:
    before = whole.read_bytes()
    with LatentsWriter(tmp_path, ALL, VERSIONS) as sink:
        sink.begin_image(course())
        fill(sink, ALL.tensor_names(4))
        path = sink.finish(SavedImage(path=str(tmp_path / "a.png"), result=make_result()))
    assert path == str(tmp_path / "0001-a.latents.safetensors")
    assert whole.read_bytes() == before
    assert read_latents_file(path).is_complete


@pytest.mark.parametrize("fitting", [0, 1, 5])
def test_on_a_disk_that_fills_the_steps_that_fitted_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fitting: int
) -> None:
    """A limit on the size of files is what a full disk is to a writer."""
    import resource
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    names = ALL.tensor_names(4)
    with LatentsWriter(tmp_path, ALL, VERSIONS) as sink:
        sink.begin_image(course())
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        [growing] = sink._growing.values()
        size = 4 * int(np.prod(SHAPE))
        limit = growing.path.stat().st_size + fitting * size + size // 2
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        try:
            with pytest.raises(OutputError):
                fill(sink, names)
            kept = sink.salvage(0)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    if not fitting:
        assert kept is None
        assert list(tmp_path.iterdir()) == []
        return
    assert kept is not None
    assert set(load_file(kept)) == set(names[:fitting])
    assert not read_latents_file(kept).is_complete


def test_every_cut_is_found(whole: Path) -> None:
    data = whole.read_bytes()
    for length in [0, 4, 8, 100, len(data) // 2, len(data) - 1]:
        whole.write_bytes(data[:length])
        with pytest.raises(CorruptError):
            read_latents_file(whole)
    whole.write_bytes(data + b"\0")
    with pytest.raises(CorruptError):
        read_latents_file(whole)


def rewrite(path: Path, tensors: dict[str, Any] | None = None, **changes: str | None) -> None:
    with safe_open(path, framework="numpy") as file:
        metadata = {**file.metadata(), **changes}
    kept = {key: value for key, value in metadata.items() if value is not None}
    path.write_bytes(save(load_file(path) if tensors is None else tensors, metadata=kept))


@pytest.mark.parametrize(
    "changes",
    [
        {"record": "{"},
        {"record": "[]"},
        {"record": None},
        {"record": json.dumps({"request": {"prompt": 3}})},
        {"record": json.dumps({"request": {"prompt": "a", "unheard": 3}})},
        {"steps": "3"},
        {"steps": "many"},
        {"init_noise_sigma": "x"},
        {"tensors": {"final": np.zeros((1, 4, 8, 8), np.float32)}},
        {"tensors": {"final": np.zeros(SHAPE, np.int32)}},
        {"tensors": {"final": np.zeros(SHAPE), "noise": np.zeros((4, 8, 9))}},
        {"tensors": {"weight": np.zeros(SHAPE)}},
        {"tensors": {"xt_0009": np.zeros(SHAPE)}},
    ],
    ids=str,
)
def test_what_contradicts_itself_is_corrupt(whole: Path, changes: dict[str, Any]) -> None:
    rewrite(whole, **changes)
    with pytest.raises(CorruptError):
        read_latents_file(whole)


def test_what_is_not_ours_is_a_usage_error(whole: Path, tmp_path: Path) -> None:
    rewrite(whole, schema=None)
    with pytest.raises(UsageError, match="not a file of latents"):
        read_latents_file(whole)
    rewrite(whole, schema="sdcli/latents/9")
    with pytest.raises(UsageError, match="latents/9"):
        read_latents_file(whole)
    with pytest.raises(UsageError, match="no file"):
        read_latents_file(tmp_path / "none.safetensors")
    assert SCHEMA == "sdcli/latents/1"
