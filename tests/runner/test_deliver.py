"""A second start generates the missing images, and none twice."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

import pytest

from sdcli.errors import ExitCode, NumericsError
from sdcli.latents import LatentsSelection
from sdcli.storage.images.codec import read_image_info
from tests.runner.conftest import CPU, RunBatch, hash_images, list_leftovers, make_request

THREE = [make_request("a cat"), make_request("a dog"), make_request("a red star")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "outputs"


def test_a_second_start_generates_nothing(run_batch: RunBatch, folder: Path) -> None:
    first = run_batch(THREE)
    assert [path.name for path in first.paths] == [
        "0001-a-cat-7.png", "0002-a-dog-7.png", "0003-a-red-star-7.png",
    ]  # fmt: skip
    before = {path: path.stat().st_mtime_ns for path in first.paths}
    second = run_batch(THREE)
    assert (second.code, second.paths) == (0, [])
    assert (second.done["made"], second.done["skipped"]) == (0, 3)
    assert "0 images made, 3 done before" in second.stderr
    assert {path: path.stat().st_mtime_ns for path in first.paths} == before
    assert list_leftovers(folder) == []


def test_a_missing_image_is_made_again_under_its_name(run_batch: RunBatch, folder: Path) -> None:
    run_batch(THREE)
    whole = hash_images(folder)
    (folder / "0002-a-dog-7.png").unlink()
    second = run_batch(THREE)
    assert (second.done["made"], second.done["skipped"]) == (1, 2)
    assert hash_images(folder) == whole


def test_an_edited_line_is_a_new_job_and_a_moved_one_is_not(
    run_batch: RunBatch, folder: Path
) -> None:
    run_batch(THREE)
    edited = [
        make_request("a fish"),
        THREE[0],
        make_request("a dog", num_inference_steps=2),
        THREE[2],
    ]
    second = run_batch(edited)
    assert (second.done["made"], second.done["skipped"]) == (2, 2)
    assert len(hash_images(folder)) == 5
    third = run_batch([make_request("a cat", guidance_scale=2.0)])
    assert third.paths[0].name.startswith("0001-a-cat-7-")  # the first name is another job's
    assert run_batch([make_request("a cat", guidance_scale=2.0)]).done["made"] == 0


def test_equal_lines_are_different_jobs(run_batch: RunBatch, folder: Path) -> None:
    run_batch([THREE[0]])
    second = run_batch([THREE[0]] * 3)
    assert (second.done["made"], second.done["skipped"]) == (2, 1)
    assert len(set(hash_images(folder).values())) == 1
    assert run_batch([THREE[0]] * 3).done["made"] == 0


def test_random_seeds_stay_the_same_in_a_folder(
    run_batch: RunBatch, folder: Path, tmp_path: Path
) -> None:
    unseeded = [make_request("a cat", seed=None), make_request("a cat", seed=None, count=2)]
    first = run_batch(unseeded)
    assert len({event["seed"] for event in first.events if event["event"] == "image"}) == 3
    whole = hash_images(folder)
    first.paths[1].unlink()
    assert run_batch(unseeded).done["made"] == 1
    assert hash_images(folder) == whole
    elsewhere = run_batch(unseeded, out=str(tmp_path / "other"))
    assert set(hash_images(tmp_path / "other").values()).isdisjoint(whole.values())
    assert elsewhere.done["made"] == 3


def test_an_altered_file_is_kept_and_its_image_is_made_again(
    run_batch: RunBatch, folder: Path
) -> None:
    from PIL import Image

    run_batch(THREE)
    whole = hash_images(folder)
    mine = folder / "0002-a-dog-7.png"
    with Image.open(mine) as image:
        image.rotate(90).save(mine)
    second = run_batch(THREE)
    assert second.done["made"] == 1
    assert second.paths[0] != mine
    assert hash_images(folder)[second.paths[0].name] == whole[mine.name]
    assert "1 made again for a lost or altered file" in second.stderr


def test_a_file_that_was_saved_again_with_the_same_pixels_is_done(
    run_batch: RunBatch, folder: Path
) -> None:
    from PIL import Image

    [path] = run_batch(THREE[:1]).paths
    with Image.open(path) as image:
        image.copy().save(path, optimize=True)
    assert run_batch(THREE[:1]).done["made"] == 0


def test_redo_replaces_all_images(run_batch: RunBatch, folder: Path) -> None:
    run_batch(THREE)
    whole = hash_images(folder)
    again = run_batch(THREE, rerun="all")
    assert again.done["made"] == 3
    assert hash_images(folder) == whole
    assert run_batch(THREE).done["made"] == 0


def test_a_lost_folder_is_a_new_start(run_batch: RunBatch, folder: Path) -> None:
    run_batch(THREE)
    whole = hash_images(folder)
    shutil.rmtree(folder)
    assert run_batch(THREE).done["made"] == 3
    assert hash_images(folder) == whole


def test_a_lost_journal_is_rebuilt_from_the_images(run_batch: RunBatch, folder: Path) -> None:
    run_batch(THREE)
    (folder / "sdcli-journal.jsonl").unlink()
    second = run_batch(THREE)
    assert (second.done["made"], second.done["skipped"]) == (0, 3)
    assert run_batch(THREE).done["skipped"] == 3


def test_without_metadata_the_journal_is_enough(run_batch: RunBatch, folder: Path) -> None:
    run_batch(THREE, metadata=False)
    assert run_batch(THREE, metadata=False).done["made"] == 0


def test_a_torn_line_costs_only_its_own_image(run_batch: RunBatch, folder: Path) -> None:
    run_batch(THREE)
    journal = folder / "sdcli-journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])
    second = run_batch(THREE)
    assert (second.done["made"], second.done["skipped"]) == (0, 3)  # its file tells
    lines = journal.read_text().splitlines()
    torn = [line for line in lines if not line.endswith("}")]
    assert len(torn) == 1
    assert all(
        json.loads(line)["schema"] == "sdcli/journal/1" for line in lines if line not in torn
    )


def test_numbered_files_have_their_sidecars_and_latents(
    run_batch: RunBatch, tmp_path: Path
) -> None:
    more = {
        "out": str(tmp_path / "x" / "cat.webp"),
        "sidecar": True,
        "save_latents": LatentsSelection.parse("final", None),
    }
    first = run_batch(THREE[:2], **more)
    assert [path.name for path in first.paths] == ["cat-0001.webp", "cat-0002.webp"]
    assert run_batch(THREE[:2], **more).done["made"] == 0
    (tmp_path / "x" / "cat-0002.latents.safetensors").unlink()
    assert run_batch(THREE[:2], **more).done["made"] == 1
    names = sorted(path.name for path in (tmp_path / "x").iterdir())
    assert names == [
        "cat-0001.json", "cat-0001.latents.safetensors", "cat-0001.webp",
        "cat-0002.json", "cat-0002.latents.safetensors", "cat-0002.webp", "sdcli-journal.jsonl",
    ]  # fmt: skip


def test_a_failed_job_runs_again_with_retry_failed_only(
    run_batch: RunBatch, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sdcli import engine

    draw = engine.generate_batch

    def generate(loaded, jobs, **options):
        if "dog" in jobs[0].prompt:
            raise NumericsError("the UNet gave NaN", code="numerics.unet")
        return draw(loaded, jobs, **options)

    with monkeypatch.context() as patch:
        patch.setattr(engine, "generate_batch", generate)
        first = run_batch(THREE)
    assert first.code == ExitCode.PARTIAL
    [failed] = [event for event in first.events if event["event"] == "failed"]
    assert failed["indices"] == [1]
    second = run_batch(THREE)
    assert (second.code, second.done["made"], second.done["failed"]) == (ExitCode.PARTIAL, 0, 1)
    assert "--retry-failed" in second.stderr
    third = run_batch(THREE, rerun="failed")
    assert (third.code, third.done["made"], third.done["skipped"]) == (0, 1, 2)
    assert len(hash_images(folder)) == 3


def test_pipelines_load_once_and_images_are_reported_in_order(
    run_batch: RunBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sdcli import engine
    from sdcli.runner.pipeline_cache import PipelineCache

    load, loads = engine.load, []
    monkeypatch.setattr(
        engine, "load", lambda spec, like=None, **_: (loads.append(spec), load(spec, like=like))[1]
    )
    tiny = replace(CPU, vae="tiny")
    mixed = [make_request(f"a cat {i}", spec=(CPU, tiny)[i % 2]) for i in range(6)]
    first = run_batch(mixed, batch_size=4, cache=PipelineCache())
    assert len(loads) == 2
    assert [path.name[:4] for path in first.paths] == [f"000{i}" for i in range(1, 7)]
    sizes = [event["batch_size"] for event in first.events if event["event"] == "image"]
    assert sizes == [3] * 6


def test_the_record_names_the_job(run_batch: RunBatch, folder: Path) -> None:
    [path] = run_batch(THREE[:1]).paths
    line = json.loads((folder / "sdcli-journal.jsonl").read_text().splitlines()[-1])
    assert line["job"] == read_image_info(path)["record"]["job"]
    assert line["name"] == path.name


@pytest.mark.sample(1)
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_finishes_the_images_in_progress_and_a_second_one_stops(
    run_batch: RunBatch, folder: Path, times: int
) -> None:
    ended = Event()

    def interrupt() -> None:
        while not list(folder.glob("*.png")):
            time.sleep(0.01)
        for _ in range(times):
            # A signal after the run would end pytest.
            if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
                os.kill(os.getpid(), signal.SIGINT)
                ended.wait(0.05)

    many = [make_request(f"a cat {i}", num_inference_steps=30) for i in range(4)]
    thread = Thread(target=interrupt, daemon=True)
    thread.start()
    ran = run_batch(many)
    ended.set()
    thread.join()
    assert ran.code == ran.done["exit_code"] == ExitCode.INTERRUPTED
    assert "press Ctrl-C again to stop immediately" in ran.stderr
    [failed] = [event for event in ran.events if event["event"] == "failed"]
    assert failed["error"]["hint"] == "run the same command again to continue"
    assert 1 <= len(hash_images(folder)) == ran.done["made"] < 4
    assert list_leftovers(folder) == []
    assert run_batch(many).done["skipped"] == ran.done["made"]
    assert len(hash_images(folder)) == 4
