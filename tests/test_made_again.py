"""The replay of all pictures that the suite made: what it finds, and what it leaves out."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from sdcli.workflows import replay
from tests.conftest import RunCli
from tests.image_files import pixels_of
from tests.made_again import make_again

QUICK = ("--steps", "3", "--seed", "1", "--size", "64x64", "--image", "in.png")


@pytest.fixture
def base(tmp_path: Path, run_cli: RunCli, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of tests; one of them made `out/a.png` from `in.png`."""
    (tmp_path / "test_a0").mkdir()
    monkeypatch.chdir(tmp_path / "test_a0")
    Image.new("RGB", (64, 64), "orange").save("in.png")
    assert run_cli("generate", "a dog", *QUICK, "-o", "out/a.png").code == 0
    return tmp_path


def test_an_input_is_found_wherever_its_test_has_moved_it(base: Path) -> None:
    Path("elsewhere").mkdir()
    shutil.move("in.png", "elsewhere/other.png")
    assert make_again(base) == (1, [], [])


@pytest.mark.parametrize("changed", [True, False], ids=["changed", "deleted"])
def test_a_picture_whose_input_is_gone_is_left_out_with_the_reason(
    base: Path, changed: bool
) -> None:
    if changed:
        Image.fromarray(255 - pixels_of("in.png")).save("in.png")
    else:
        Path("in.png").unlink()
    count, [left_out], wrong = make_again(base)
    assert (count, wrong) == (0, [])
    assert left_out.startswith(str(base / "test_a0" / "out" / "a.png"))
    assert "its image (SHA-256 " in left_out
    assert left_out.endswith(" was deleted or changed")


def test_a_picture_that_comes_out_otherwise_is_reported(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = replay.generate
    monkeypatch.setattr(
        replay,
        "generate",
        lambda request: drawn(request.__class__.from_dict({**request.to_dict(), "seed": 2})),
    )
    count, left_out, [wrong] = make_again(base)
    assert (count, left_out) == (1, [])
    assert "'verdict': 'different'" in wrong
