"""Several processes on one folder, some of them killed: each image is there once, and complete.

Processes are forked from one child that has imported torch and loaded the model.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.runner.conftest import hash_images, list_leftovers

ROOT = Path(__file__).parents[2]
SCRIPT = """
import os, random, resource, signal, sys, time
from pathlib import Path
from sdcli.planning import planner
from sdcli.prompts.sources import IterableSource
from sdcli.runner import deliver
from sdcli.runner.pipeline_cache import DEFAULT_CACHE
from sdcli.runner.options import RunOptions
from tests.runner.conftest import CPU, make_request
import torch
torch.set_num_threads(1)
from sdcli.versions import library_versions
library_versions()
with DEFAULT_CACHE.load(CPU):
    pass

PROMPTS = [make_request(f"a cat {i}", seed=None if i % 2 else i) for i in range(12)]

def start(out):
    pid = os.fork()
    if pid:
        return pid
    sys.stdout = open(os.devnull, "w")
    sys.stderr = open(out + ".log", "a")
    code = 99
    try:
        delivery = RunOptions(out=out, expected_images=len(PROMPTS), journal=True)
        code = deliver.run(IterableSource(PROMPTS), delivery)
    except BaseException:
        import traceback
        traceback.print_exc(file=sys.stderr)
    sys.stderr.flush()
    os._exit(code)

def ended(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def kills(out, whole):
    begun = time.monotonic()
    assert ended(start(whole)) == 0
    alone = time.monotonic() - begun
    random.seed(5)
    killed = 0
    os.mkdir(out)
    while killed < 30:
        pid = start(out)
        time.sleep(random.uniform(0, alone / 8))
        os.kill(pid, signal.SIGKILL)
        killed += ended(pid) == -signal.SIGKILL
        names = [name for name in os.listdir(out) if name.endswith(".png")]
        if len(names) == len(PROMPTS):  # all there: the next ones are killed while they replace it
            os.unlink(os.path.join(out, random.choice(names)))
    assert ended(start(out)) == 0

def two(out):
    assert [ended(pid) for pid in [start(out), start(out)]] == [0, 0]

def survivor(out):
    from sdcli.storage.images.destination import Destination
    from sdcli.storage.jobs.store import JobStore
    os.mkdir(out)
    reader, writer = os.pipe()
    victim = os.fork()
    if not victim:
        mine = JobStore(Destination(kind="folder", path=Path(out)))
        jobs = planner.Planner(print, mine.draw_seed).plan(PROMPTS[:4])
        claimed, _ = mine.lease(mine.take_pending(jobs))
        os.write(writer, bytes([len(claimed)]))
        time.sleep(600)
    assert os.read(reader, 1) == bytes([4])
    other = start(out)
    time.sleep(0.5)
    os.kill(victim, signal.SIGKILL)
    ended(victim)
    assert ended(other) == 0

def full(out, limit, padding):
    os.mkdir(out)
    Path(out, "sdcli-journal.jsonl").write_bytes(b"x" * padding + b"\\n")
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    # Python itself leaves half a .pyc file where a write is cut short.
    sys.dont_write_bytecode = True
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    assert ended(start(out)) in (5, 9)  # 9 where some were whole before
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert ended(start(out)) == 0

os.chdir(sys.argv[1])
kills("killed", "whole")
two("shared")
survivor("survived")
full("full-image", 2_000, 0)
full("full-journal", 40_000, 38_500)
"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders that all those processes left behind."""
    path = tmp_path_factory.mktemp("folders")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, str(path)],
        capture_output=True, text=True, cwd=ROOT, env=environment, check=False,
    )  # fmt: skip
    logs = "".join(log.read_text()[-2000:] for log in path.glob("*.log"))
    assert ran.returncode == 0, ran.stderr + logs
    return path


def journalled(folder: Path) -> Counter[tuple[str, int]]:
    lines = (folder / "sdcli-journal.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines if line.startswith("{")]
    return Counter((e["job"], e["occurrence"]) for e in events if e["event"] == "image")


def test_thirty_kills_lose_no_image_and_repeat_none(folders: Path) -> None:
    # Seeds that nobody chose differ from folder to folder; all else is the same picture.
    mine, theirs = hash_images(folders / "killed"), hash_images(folders / "whole")
    assert len(mine) == len(theirs) == len(set(mine.values())) == 12
    chosen = [name for name in theirs if int(name[:4]) % 2]
    assert {name: mine[name] for name in chosen} == {name: theirs[name] for name in chosen}
    assert list_leftovers(folders / "killed") == []


def test_two_processes_share_a_folder(folders: Path) -> None:
    assert len(hash_images(folders / "shared")) == 12
    assert set(journalled(folders / "shared").values()) == {1}
    assert list_leftovers(folders / "shared") == []
    lines = (folders / "shared.log").read_text().splitlines()
    made = [int(line.split()[1]) for line in lines if " made" in line]
    assert len(made) == 2
    assert sum(made) == 12


def test_a_process_takes_over_the_leases_of_a_killed_one(folders: Path) -> None:
    assert len(hash_images(folders / "survived")) == 12
    assert list_leftovers(folders / "survived") == []


@pytest.mark.parametrize("name", ["full-image", "full-journal"])
def test_a_full_disk_leaves_no_half_file(folders: Path, name: str) -> None:
    """A limit on the size of files is what a full disk is to a writer."""
    assert len(hash_images(folders / name)) == 12
    assert list_leftovers(folders / name) == []
    assert set(journalled(folders / name).values()) == {1}
