"""A short run of the kills, and two starts that share a folder and a host name."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.fuzz.kills import PROMPTS, KillCase, cases, check, check_folder, start

# Which also puts this file among the first.
pytestmark = pytest.mark.timeout(600)


@pytest.mark.parametrize("case", list(cases(seed=11, count=2)), ids=str)
def test_a_killed_batch_makes_every_image_once(case: KillCase) -> None:
    check(case)


def test_containers_of_one_host_name_share_a_folder(tmp_path: Path) -> None:
    """In each of them the program is process 1, and sees no other."""
    case = KillCase(delays=(), companions=True, containers=True)
    (tmp_path / "prompts.txt").write_text("".join(f"a cat {i}\n" for i in range(PROMPTS)))
    starts = [start(tmp_path, case) for _ in range(2)]
    ended = [(process.communicate()[1], process.returncode) for process in starts]
    assert [code for _, code in ended] == [0, 0], ended
    check_folder(tmp_path / "out", case)
    lines = (tmp_path / "out" / "sdcli-journal.jsonl").read_text().splitlines()
    events = Counter(json.loads(line)["event"] for line in lines)
    assert events == {"opened": 1, "image": PROMPTS}
