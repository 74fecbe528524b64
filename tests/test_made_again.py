"""The replay of all pictures that the suite made: what it finds, and what it leaves out."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from sdcli.checkpoints.adapters.embedded_addons import EMBEDDED_LORAS
from sdcli.workflows import replay
from tests.conftest import RunCli
from tests.image_files import pixels_of
from tests.made_again import make_again, sample

QUICK = ("--steps", "3", "--seed", "1", "--size", "64x64", "--device", "cpu")
SOURCES = ("--image", "in.png", "--lora", "a.safetensors:0.5")


@pytest.fixture
def base(tmp_path: Path, run_cli: RunCli, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of tests; one of them made `out/a.png` of an image and a LoRA."""
    (tmp_path / "test_a0").mkdir()
    monkeypatch.chdir(tmp_path / "test_a0")
    Image.new("RGB", (64, 64), "orange").save("in.png")
    shutil.copy(EMBEDDED_LORAS / "flag.safetensors", "a.safetensors")
    assert run_cli("generate", "a dog", *QUICK, *SOURCES, "-o", "out/a.png").code == 0
    return tmp_path


def test_inputs_are_found_wherever_their_test_has_moved_them(base: Path) -> None:
    Path("elsewhere").mkdir()
    shutil.move("in.png", "elsewhere/other.png")
    shutil.move("a.safetensors", "elsewhere/other.safetensors")
    assert make_again(base) == (1, [], [])


def change_image() -> None:
    Image.fromarray(255 - pixels_of("in.png")).save("in.png")


CHANGES = {
    "image changed": ("image", change_image),
    "image deleted": ("image", Path("in.png").unlink),
    "LoRA deleted": ("LoRA a.safetensors", Path("a.safetensors").unlink),
}


@pytest.mark.parametrize(("name", "change"), CHANGES.values(), ids=CHANGES)
def test_a_picture_whose_input_is_gone_is_left_out_with_the_reason(
    base: Path, name: str, change: Callable[[], None]
) -> None:
    change()
    count, [left_out], wrong = make_again(base)
    assert (count, wrong) == (0, [])
    assert left_out.startswith(f"{base / 'test_a0' / 'out' / 'a.png'}: its {name} (SHA-256 ")
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


def test_a_sample_has_every_kind_of_picture_before_a_second_of_any() -> None:
    requests = [{"steps": 1, "lora": None}, {"steps": 2, "lora": None}, {"steps": 3, "lora": "a:1"}]
    found = {
        Path(f"{number}.png"): {"job": f"{9 - number}", "batch_size": 1, "request": request}
        for number, request in enumerate(requests)
    }
    names = [path.name for path in sample(found, 2)]
    assert names == ["1.png", "2.png"]
    assert list(sample(found, 5)) == list(found)
