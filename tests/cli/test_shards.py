"""`sdcli batch --shard` and `sdcli merge`: folders of their own, and what one run makes of them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sdcli.storage.images.codec import read_image_info
from tests.processes import start_fork

WORDS = ("a cat", "a dog", "a fish", "a star", "a pizza", "a whale", "a house")
QUICK = ("--device", "cpu", "--steps", "1", "--size", "64x64", "--batch-size", "1")
SEED = ("--seed", "1")


@pytest.fixture(autouse=True)
def prompts(run_cli, monkeypatch) -> None:
    del run_cli  # for its folder
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "JOB_COMPLETION_INDEX"):
        monkeypatch.delenv(name, raising=False)
    Path("prompts.txt").write_text("".join(f"{word}\n" for word in WORDS))


def pixels(folder: str) -> dict[str, str]:
    paths = Path(folder).glob("*.png")
    return {path.name: str(read_image_info(path)["pixels_sha256"]) for path in paths}


def files(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.is_file()}


def make(run_cli, shard: str | None, out: str, *argv: str):
    share = ("--shard", shard) if shard else ()
    return run_cli("batch", "prompts.txt", *QUICK, *SEED, *share, "-o", out, *argv)


def test_merged_shards_are_the_run_itself(run_cli):
    make(run_cli, None, "whole", "--sidecar")
    for number in (1, 2, 3):
        ran = make(run_cli, f"{number}/3", f"part-{number}", "--sidecar")
        assert (ran.code, ran.messages) == (0, f"sdcli: {len(ran.paths)} images made\n")
        indices = [int(path.name[:4]) - 1 for path in ran.paths]
        assert indices == list(range(number - 1, len(WORDS), 3))
    before = files("part-1")
    ran = run_cli("merge", "part-1", "part-2", "part-3", "-o", "all")
    assert (ran.code, ran.stderr) == (0, "")
    assert ran.stdout.splitlines() == [
        "part-1: 3 copied",
        "part-2: 2 copied",
        "part-3: 2 copied",
        "all: 7 of 7 images",
    ]
    assert pixels("all") == pixels("whole")
    assert {*files("all")} == {*files("whole")}
    assert files("part-1") == before
    again = make(run_cli, None, "all", "--sidecar")
    assert (again.code, again.stderr) == (0, "sdcli: 0 images made, 7 done before\n")


def merged(run_cli, *folders: str, out: str = "all"):
    ran = run_cli("merge", *folders, "-o", out, "--json")
    return ran.code, ran.document


def test_a_merge_tells_what_is_missing_and_is_completed_later(run_cli):
    make(run_cli, "1/3", "a")
    make(run_cli, "2/3", "b", "--limit", "4")
    next(Path("b").glob("*.png")).unlink()
    make(run_cli, "2/3", "b")
    next(iter(sorted(Path("b").glob("*.png")))).unlink()
    code, document = merged(run_cli, "a", "b")
    assert (code, document["images"], document["expected"]) == (9, 4, 7)
    assert document["missing"] == [1, 2, 5]
    assert document["missing_by_shard"] == {"2/3": 1, "3/3": 2}
    assert [folder["lost"] for folder in document["folders"]] == [0, 1]
    text = run_cli("merge", "a", "b", "-o", "all").stdout
    assert "a: 0 copied, 3 there already" in text
    assert "missing from shard 3/3: 2, which was not merged" in text
    make(run_cli, "2/3", "b")
    make(run_cli, "3/3", "c")
    code, document = merged(run_cli, "b", "c")
    assert (code, document["missing"], document["images"]) == (0, [], 7)
    assert [folder["copied"] for folder in document["folders"]] == [1, 2]
    assert make(run_cli, None, "all").stderr == "sdcli: 0 images made, 7 done before\n"


def test_duplicates_differences_and_taken_names(run_cli):
    make(run_cli, None, "a", "--limit", "2")
    make(run_cli, None, "b", "--limit", "3")
    code, document = merged(run_cli, "a", "b")
    assert (code, document["images"], document["expected"]) == (0, 3, None)
    assert [folder["present"] for folder in document["folders"]] == [0, 2]
    # Another run, whose first image has the same name.
    shutil.copytree("a", "c")
    run_cli("batch", "prompts.txt", *QUICK[:2], "--steps", "2", *SEED, "--limit", "1", "-o", "d")
    code, document = merged(run_cli, "c", "d", out="both")
    assert (code, len(pixels("both")), document["images"]) == (0, 3, 3)
    assert {*pixels("a").values(), *pixels("d").values()} == {*pixels("both").values()}
    # The same job, with other pixels: the first stays.
    journal = Path("b", "sdcli-journal.jsonl")
    other = sorted(Path("b").glob("*.png"))
    shutil.copy(other[2], other[0])
    lines = journal.read_text().splitlines()
    hashes = [json.loads(line).get("pixels_sha256", "none") for line in lines]
    journal.write_text("\n".join(lines).replace(hashes[1], hashes[3]) + "\n")
    ran = run_cli("merge", "b", "-o", "a", "--json")
    assert ran.code == 9
    assert ran.document["folders"][0]["different"] == 1
    assert "differs from" in ran.stderr


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        (("none", "-o", "all"), 2, "none/sdcli-journal.jsonl: No such file or directory"),
        (("parts-1", "-o", "all"), 2, "did you mean part-1?"),
        (("part-1", "-o", "all"), 2, "give the folders that sdcli batch wrote"),
        (("a", "a", "-o", "all"), 2, "a is given twice"),
        (("a", "./a", "-o", "all"), 2, "a is given twice"),
        (("a", "-o", "a"), 2, "a is --out, too"),
        (("a", "-o", "-"), 2, "images of several folders can't be written to stdout"),
        (("prompts.txt", "-o", "all"), 2, "Not a directory"),
        (("a", "-o", "prompts.txt/x"), 5, "prompts.txt"),
        (("a",), 2, "--out"),
    ],
)
def test_folders_that_can_not_be_merged(run_cli, argv, code, message):
    Path("a").mkdir()
    Path("a", "sdcli-journal.jsonl").write_text("")
    Path("part-1").mkdir()
    ran = run_cli("merge", *argv)
    assert (ran.code, ran.stdout) == (code, "")
    assert message in ran.stderr
    assert not Path("all").exists()


HOSTILE = (
    '{"event": "image", "job": "a", "occurrence": 0, "name": "../../etc/passwd"}',
    '{"event": "image", "job": "b", "occurrence": 0, "name": "x.png", "beside": ["../y"]}',
    '{"event": "image", "job": [], "occurrence": "x"}',
    '{"event": "shard", "shard": "1/0/2", "images": 3}',
    '{"event": "shard", "shard": "0/0", "images": 3}',
    '{"event": "shard", "shard": "3/2", "images": 3}',
    '{"event": "shard", "shard": "1/2", "images": -3}',
    '{"event": "shard", "shard": "1/2", "images": 1e300}',
    "[1]",
    "{" * 10_000,
    "\x00",
)


def test_hostile_journals_are_no_harm(run_cli):
    Path("a").mkdir()
    Path("a", "sdcli-journal.jsonl").write_text("\n".join(HOSTILE) + "\n")
    code, document = merged(run_cli, "a")
    assert (code, document["images"], document["expected"]) == (0, 0, None)
    assert {path.name for path in Path("all").iterdir()} == {"sdcli-journal.jsonl"}


def test_shards_without_a_seed_are_warned_of_and_share_a_folder(run_cli, monkeypatch):
    argv = ("batch", "prompts.txt", *QUICK, "-o", "out")
    first = run_cli(*argv, "--shard", "1/2")
    assert "shards of different folders can't be continued once they are merged" in first.stderr
    assert len(first.paths) == 4
    second = run_cli(*argv, "--shard", "2/2", "--workers", "1")
    assert len(second.paths) == 3
    assert run_cli(*argv).stderr == "sdcli: 0 images made, 7 done before\n"
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert run_cli(*argv).stderr == "sdcli: 0 images made, 4 done before\n"


def test_a_dry_run_and_a_grid_of_a_shard(run_cli):
    ran = make(run_cli, "2/3", "out", "--dry-run", "--json")
    assert [job["prompt"] for job in ran.document["jobs"]] == ["a dog", "a pizza"]
    assert ran.document["images"] == 2
    ran = make(run_cli, "2/3", "out", "--steps", "1,2", "--grid", "steps")
    assert (ran.code, "no rank or shard has all images" in ran.stderr) == (2, True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_shard_goes_on_after_each_kind_of_death(run_cli, number):
    argv = ("batch", "prompts.txt", *QUICK[:2], "--size", "64x64", "--batch-size", "1", *SEED)
    argv += ("--steps", "20", "--shard", "1/2", "-o", "part")
    process = start_fork(*argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline()
    process.send_signal(number)
    process.communicate(timeout=240)
    assert process.returncode == (-9 if number == signal.SIGKILL else 130)
    before = pixels("part")
    assert 1 <= len(before) < 4
    code, document = merged(run_cli, "part")
    assert (code, document["images"]) == (9, len(before))
    assert document["missing_by_shard"]["2/2"] == 3
    assert run_cli(*argv).code == 0
    assert before.items() <= pixels("part").items()
    code, document = merged(run_cli, "part")
    assert (document["images"], document["missing_by_shard"]) == (4, {"2/2": 3})


def _can_unshare() -> bool:
    probe = ["unshare", "-n", "true"]
    return bool(shutil.which("unshare")) and subprocess.run(probe, check=False).returncode == 0


def test_two_machines_without_a_network_or_a_common_folder(run_cli):
    """Two network namespaces, with folders of their own and environments of a Slurm array."""
    if not _can_unshare():
        pytest.skip("network namespaces need privileges")
    make(run_cli, None, "whole")
    processes = []
    for task in (1, 2):
        slurm = {"ID": task, "MIN": 1, "MAX": 2, "STEP": 1, "COUNT": 2}
        environment = {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in slurm.items()}
        folder = Path(f"machine-{task}")
        folder.mkdir()
        shutil.copy("prompts.txt", folder)
        argv = ("batch", "prompts.txt", *QUICK, *SEED, "--shard", "auto", "-o", "part")
        processes.append(
            subprocess.Popen(
                ["unshare", "-n", sys.executable, "-m", "sdcli", *argv],
                env=os.environ | environment,
                cwd=folder,
                stdout=subprocess.DEVNULL,
            )
        )
    assert [process.wait(240) for process in processes] == [0, 0]
    code, document = merged(run_cli, "machine-1/part", "machine-2/part")
    assert (code, document["missing"], document["expected"]) == (0, [], 7)
    assert pixels("all") == pixels("whole")
