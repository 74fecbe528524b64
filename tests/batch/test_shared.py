"""Several processes on one folder, and processes that are killed: each image once, and whole.

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

from tests.batch.conftest import clutter, pictures

ROOT = Path(__file__).parents[2]
PROLOGUE = """
import os, random, signal, sys, time
from sdcli import run
from sdcli.prompts.arrivals import Given
from tests.batch.conftest import CPU, asked
import torch
torch.set_num_threads(1)
from sdcli import engine
engine.versions()
run._loaded[CPU] = engine.load(CPU)

PROMPTS = [asked(f"a cat {i}", seed=None if i % 2 else i) for i in range(12)]

def start(out, **more):
    pid = os.fork()
    if pid:
        return pid
    sys.stdout = open(os.devnull, "w")
    sys.stderr = open(out + ".log", "a")
    code = 99
    try:
        delivery = run.Delivery(out=out, images=len(PROMPTS), journal=True, **more)
        code = run.deliver(Given(PROMPTS), delivery)
    except BaseException:
        import traceback
        traceback.print_exc(file=sys.stderr)
    sys.stderr.flush()
    os._exit(code)

def ended(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""


def python(script: str, *argv: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROLOGUE + script, *argv],
        capture_output=True, text=True, cwd=ROOT, env=environment, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return ran


def journalled(folder: Path) -> Counter[tuple[str, int]]:
    lines = (folder / "sdcli-journal.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    return Counter((e["job"], e["occurrence"]) for e in events if e["event"] == "image")


def test_thirty_kills_lose_nothing_and_make_nothing_twice(tmp_path: Path) -> None:
    script = """
out, whole = sys.argv[1:3]
begun = time.monotonic()
assert ended(start(whole)) == 0
alone = time.monotonic() - begun
random.seed(5)
kills = 0
os.mkdir(out)
while kills < 30:
    pid = start(out)
    time.sleep(random.uniform(0, alone / 8))
    os.kill(pid, signal.SIGKILL)
    kills += ended(pid) == -signal.SIGKILL
    names = [name for name in os.listdir(out) if name.endswith(".png")]
    if len(names) == len(PROMPTS):  # all there: kill the next ones while they make it anew
        victim = os.path.join(out, random.choice(names))
        os.unlink(victim)
assert ended(start(out)) == 0
"""
    out, whole = tmp_path / "killed", tmp_path / "whole"
    python(script, str(out), str(whole))
    # Seeds that nobody chose differ from folder to folder; all else is the same picture.
    mine, theirs = pictures(out), pictures(whole)
    assert len(mine) == len(theirs) == 12
    chosen = [name for name in theirs if int(name[:4]) % 2]
    assert {name: mine[name] for name in chosen} == {name: theirs[name] for name in chosen}
    assert len(set(mine.values())) == 12
    assert clutter(out) == []


def test_two_processes_share_a_folder(tmp_path: Path) -> None:
    script = """
out = sys.argv[1]
assert [ended(pid) for pid in [start(out), start(out)]] == [0, 0]
"""
    out = tmp_path / "shared"
    python(script, str(out))
    assert len(pictures(out)) == 12
    assert set(journalled(out).values()) == {1}
    assert clutter(out) == []
    told = (tmp_path / "shared.log").read_text()
    assert sum(int(line.split()[1]) for line in told.splitlines() if " made" in line) == 12


def test_the_survivor_makes_what_a_killed_one_had_claimed(tmp_path: Path) -> None:
    script = """
out = sys.argv[1]
from sdcli.output import ledger
from sdcli.output.images import Destination
from pathlib import Path

os.mkdir(out)
victim = os.fork()
if not victim:
    from sdcli.plan import plan
    mine = ledger.Ledger(Destination(kind="folder", path=Path(out)))
    planner = run._Planner(print, mine.draw_seed)
    claimed, _ = mine.claim(mine.wanted(planner.jobs(PROMPTS[:4])))
    assert len(claimed) == 4
    open(out + ".claimed", "w").close()
    time.sleep(600)
while not os.path.exists(out + ".claimed"):
    time.sleep(0.02)
survivor = start(out)
time.sleep(0.5)
os.kill(victim, signal.SIGKILL)
ended(victim)
assert ended(survivor) == 0
"""
    out = tmp_path / "shared"
    python(script, str(out))
    assert len(pictures(out)) == 12
    assert clutter(out) == []


@pytest.mark.parametrize("limit", [2_000, 20_000])
def test_a_full_disk_leaves_no_half_file(tmp_path: Path, limit: int) -> None:
    """A file size limit is what a full disk is to a writer; the journal meets it too."""
    script = """
import resource
out, limit = sys.argv[1], int(sys.argv[2])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
before = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
assert ended(start(out)) == 5
resource.setrlimit(resource.RLIMIT_FSIZE, before)
assert ended(start(out)) == 0
"""
    out = tmp_path / "full"
    python(script, str(out), str(limit))
    assert len(pictures(out)) == 12
    assert clutter(out) == []
    assert set(journalled(out).values()) == {1}
