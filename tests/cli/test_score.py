"""`score` and `pick`: scores of images, in JSON and sidecars, and the best of them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from sdcli.errors import ExitCode
from sdcli.storage.images.codec import read_image_info
from sdcli.training.scenes import Placement, Scene, render
from sdcli.training.sprites import Sprites, draw_shapes
from tests.conftest import RunCli
from tests.gallery_images import drawn_pixels, plain_color, write_image
from tests.storage.test_gallery import data_of
from tests.test_startup import HEAVY, probe

PROMPT = "a red circle and a blue star on a yellow background"


def shapes(*names: str) -> Any:
    """The pixels of two shapes side by side on yellow."""
    placements = tuple(
        Placement(concept=name, left=64 * i, top=32, size=64) for i, name in enumerate(names)
    )
    scene = Scene(placements=placements, layout="row", background="yellow")
    return render(scene, Sprites(draw_shapes()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images that show all, half and nothing of the objects of their prompt."""
    run = tmp_path / "run"
    write_image(run / "right.png", shapes("red circle", "blue star"), prompt=PROMPT, seed=1)
    write_image(run / "half.png", shapes("red circle", "green star"), prompt=PROMPT, seed=2)
    write_image(run / "swapped.png", shapes("blue star", "red circle"), prompt=PROMPT, seed=3)
    write_image(run / "other.png", plain_color(4, size=64), prompt="a unicorn", seed=4)
    return run


def rows(run_cli: RunCli, *argv: str) -> dict[str, Any]:
    ran = run_cli("score", *argv, "--json")
    assert ran.code == 0, ran.stderr
    return {Path(row["path"]).name: row for row in ran.document["images"]}


def test_the_score_is_the_share_of_what_the_prompt_names(run_cli: RunCli, folder: Path) -> None:
    scored = rows(run_cli, "run")
    matches = {name: row["prompt_match"] for name, row in scored.items()}
    assert matches == {
        "half.png": pytest.approx(2 / 3, abs=1e-5),
        "other.png": None,
        "right.png": 1,
        "swapped.png": pytest.approx(1 / 3, abs=1e-5),
    }
    assert scored["half.png"]["judged"]["found"] == [
        "red circle",
        "green star",
        "yellow background",
    ]
    assert scored["half.png"]["judged"]["expected"][1] == "blue star"


def test_only_images_of_the_embedded_model_are_judged(run_cli: RunCli, tmp_path: Path) -> None:
    pixels = shapes("red circle", "blue star")
    write_image(tmp_path / "a.png", pixels, prompt=PROMPT, model="other/model")
    write_image(tmp_path / "b.png", pixels[:96, :96], prompt=PROMPT)
    Image.fromarray(pixels).save(tmp_path / "c.png")
    scored = rows(run_cli, "a.png", "b.png", "c.png")
    assert [row["prompt_match"] for row in scored.values()] == [None] * 3


def test_similar_images_are_duplicates_of_the_first(run_cli: RunCli, tmp_path: Path) -> None:
    different = drawn_pixels()[:2]
    Image.fromarray(different[0]).save(tmp_path / "a.png")
    Image.fromarray(different[1]).save(tmp_path / "b.png")
    Image.fromarray(different[0]).save(tmp_path / "c.jpg", quality=60)
    Image.fromarray(different[0]).resize((96, 96)).save(tmp_path / "d.png")
    Image.fromarray(different[1]).save(tmp_path / "e.webp", lossless=True)
    scored = rows(run_cli, str(tmp_path))
    found = {
        name: row["duplicate_of"] and Path(row["duplicate_of"]).name for name, row in scored.items()
    }
    assert found == {
        "a.png": None,
        "b.png": None,
        "c.jpg": "a.png",
        "d.png": "a.png",
        "e.webp": "b.png",
    }
    exact = rows(run_cli, str(tmp_path), "--duplicate-distance", "0")
    assert exact["e.webp"]["duplicate_of"].endswith("b.png")


def test_another_color_is_no_duplicate(run_cli: RunCli, folder: Path) -> None:
    assert not any(row["duplicate_of"] for row in rows(run_cli, "run").values())


def test_a_reference(run_cli: RunCli, folder: Path) -> None:
    ran = run_cli("score", "run", "--reference", "run/right.png", "--json")
    scored = {Path(row["path"]).name: row for row in ran.document["images"]}
    assert (scored["right.png"]["psnr"], scored["right.png"]["ssim"]) == (None, 1)
    assert 5 < scored["swapped.png"]["psnr"] < scored["half.png"]["psnr"] < 40
    assert (scored["other.png"]["psnr"], scored["other.png"]["ssim"]) == (None, None)
    assert "run/other.png: 64x64, and the reference has 128x128" in ran.stderr


def test_scores_join_the_record_in_the_sidecar(run_cli: RunCli, folder: Path) -> None:
    record = read_image_info(folder / "right.png")["record"]
    (folder / "half.json").write_text('{"mine": 1}')
    ran = run_cli("score", "run/right.png", "--sidecar")
    assert ran.code == 0
    document = json.loads((folder / "right.json").read_text())
    scores = document.pop("scores")
    assert document == record
    assert scores["prompt_match"] == 1
    # Again, with a sidecar that is there.
    assert run_cli("score", "run/right.png", "--sidecar").code == 0
    assert json.loads((folder / "right.json").read_text()) == document | {"scores": scores}
    refused = run_cli("score", "run/half.png", "--sidecar")
    assert refused.code == ExitCode.OUTPUT
    assert "not a sidecar of sdcli" in refused.stderr
    assert (folder / "half.json").read_text() == '{"mine": 1}'


def test_a_gallery_has_scores_of_the_same_pixels_only(run_cli: RunCli, folder: Path) -> None:
    run_cli("score", "run", "--sidecar")
    write_image(folder / "right.png", shapes("red star", "blue star"), prompt=PROMPT, seed=1)
    run_cli("gallery", "run")
    data = data_of((folder / "gallery.html").read_text("utf-8"))
    assert {"prompt_match", "saturation", "sharpness"} <= set(data["scores"])
    place = data["scores"].index("sharpness")
    with_score = {row[0]: row[7][place] is not None for row in data["images"]}
    assert with_score == {
        "half.png": True,
        "other.png": True,
        "right.png": False,
        "swapped.png": True,
    }


def test_the_table(run_cli: RunCli, folder: Path) -> None:
    ran = run_cli("score", "run")
    header, *lines = ran.stdout.splitlines()
    assert header.split() == ["image", "prompt", "match", "sharpness", "saturation"]
    assert [line.split()[:2] for line in lines] == [
        ["run/half.png", "0.6667"],
        ["run/other.png", "-"],
        ["run/right.png", "1"],
        ["run/swapped.png", "0.3333"],
    ]


def names(ran: Any) -> list[str]:
    assert ran.code == 0, ran.stderr
    return [Path(line).name for line in ran.stdout.splitlines()]


def test_pick_the_best(run_cli: RunCli, folder: Path) -> None:
    best = run_cli("pick", "run", "--by", "prompt_match", "--top", "2")
    assert names(best) == ["right.png", "half.png"]
    assert "warning: images without prompt_match: 1" in best.stderr
    worst = run_cli("pick", "run", "--by", "prompt-match", "--top", "1", "--lowest", "-q")
    assert names(worst) == ["swapped.png"]


def test_pick_for_each_prompt(run_cli: RunCli, folder: Path) -> None:
    ran = run_cli("pick", "run", "--by", "saturation", "--top", "1", "--per", "prompt", "--json")
    groups = {row["group"]: row for row in ran.document["images"]}
    assert set(groups) == {PROMPT, "a unicorn"}
    scores = {row["path"]: row["saturation"] for row in rows(run_cli, "run").values()}
    mine = {path: value for path, value in scores.items() if "other" not in path}
    assert groups[PROMPT]["source"] == max(mine, key=mine.__getitem__)
    assert groups[PROMPT]["rank"] == 1


def test_pick_without_images_that_look_like_a_better_one(run_cli: RunCli, tmp_path: Path) -> None:
    sharp, other = drawn_pixels()[:2]
    Image.fromarray(sharp).save(tmp_path / "a.png")
    Image.fromarray(sharp).filter(ImageFilter.GaussianBlur(0.6)).save(tmp_path / "blurred.png")
    Image.fromarray(other).save(tmp_path / "b.png")
    argv = ("pick", str(tmp_path), "--by", "sharpness")
    assert set(names(run_cli(*argv))) == {"a.png", "b.png", "blurred.png"}
    assert set(names(run_cli(*argv, "--unique"))) == {"a.png", "b.png"}


def test_pick_by_the_ratings_of_a_gallery(run_cli: RunCli, folder: Path) -> None:
    ratings = {"half.png": 5, "other.png": 2}
    Path("r.json").write_text(json.dumps({"schema": "sdcli/ratings/1", "ratings": ratings}))
    ran = run_cli("pick", "run", "--by", "rating", "--ratings", "r.json", "-q")
    assert names(ran) == ["half.png", "other.png"]
    Path("r.json").write_text("[]")
    wrong = run_cli("pick", "run", "--by", "rating", "--ratings", "r.json")
    assert wrong.code == ExitCode.USAGE
    assert "r.json: not the ratings of a gallery" in wrong.stderr


@pytest.mark.parametrize(
    ("named", "given", "picked"),
    [
        # By a gallery of the folder, of the one above, and of the one above that.
        ({"a.png": 1, "sub/a.png": 2}, "run", ["sub/a.png", "a.png"]),
        ({"sub/a.png": 2, "a.png": 1}, "run", ["sub/a.png", "a.png"]),
        ({"a.png": 1}, "run", ["a.png"]),
        ({"run/a.png": 1, "run/sub/a.png": 2}, "run", ["sub/a.png", "a.png"]),
        ({"a.png": 1, "sub/a.png": 2}, "run/sub/a.png", ["sub/a.png"]),
        ({"sub/a.png": 2}, "run/sub", ["sub/a.png"]),
    ],
)
def test_a_rating_is_that_of_the_image_of_this_name(
    run_cli: RunCli, tmp_path: Path, named: dict[str, int], given: str, picked: list[str]
) -> None:
    for name in ("a.png", "sub/a.png"):
        path = tmp_path / "run" / name
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(path)
    Path("r.json").write_text(json.dumps({"schema": "sdcli/ratings/1", "ratings": named}))
    ran = run_cli("pick", given, "--by", "rating", "--ratings", "r.json", "--json")
    sources = [row["source"].removeprefix("run/") for row in ran.document["images"]]
    assert sources == picked
    assert [row["value"] for row in ran.document["images"]] == [
        2 if "sub" in name else 1 for name in picked
    ]


def test_nothing_is_copied_if_something_is_in_the_way(run_cli: RunCli, folder: Path) -> None:
    argv = ("pick", "run", "--by", "saturation", "--top", "4", "-o", "best")
    run_cli("score", "run", "--sidecar")
    Path("best").mkdir()
    Path("best/swapped.json").write_text("mine")
    ran = run_cli(*argv)
    assert (ran.code, "best/swapped.json exists" in ran.stderr) == (ExitCode.OUTPUT, True)
    assert [path.name for path in Path("best").iterdir()] == ["swapped.json"]
    Path("best/swapped.json").unlink()
    (folder / "other").mkdir()
    Image.new("RGB", (8, 8)).save(folder / "other" / "half.jpg")
    (folder / "other" / "half.json").write_text("{}")
    ran = run_cli("pick", "run", "--by", "saturation", "-o", "best", "--force")
    assert (ran.code, "two of the files are called half.json" in ran.stderr) == (2, True)
    assert not list(Path("best").iterdir())


@pytest.mark.parametrize("link", [False, True])
def test_copies_and_links(run_cli: RunCli, folder: Path, link: bool) -> None:
    run_cli("score", "run", "--sidecar")
    argv = ["pick", "run", "--by", "prompt_match", "--top", "2", "-o", "best", "-q"]
    argv += ["--link"] if link else []
    assert names(run_cli(*argv)) == ["right.png", "half.png"]
    assert {p.name for p in Path("best").iterdir()} == {
        "half.json", "half.png", "right.json", "right.png",
    }  # fmt: skip
    for path in Path("best").iterdir():
        assert path.read_bytes() == (folder / path.name).read_bytes()
        assert path.is_symlink() is link
    again = run_cli(*argv)
    assert again.code == ExitCode.OUTPUT
    assert run_cli(*argv, "--force").code == 0


def test_sidecars_are_used_before_measuring(run_cli: RunCli, folder: Path) -> None:
    run_cli("score", "run", "--sidecar")
    for path in folder.glob("*.json"):
        document = json.loads(path.read_text())
        document["scores"]["taste"] = len(path.stem)
        document["scores"]["prompt_match"] = len(path.stem)
        path.write_text(json.dumps(document))
    assert names(run_cli("pick", "run", "--by", "taste", "--top", "1")) == ["swapped.png"]
    code, modules = probe("pick", "run", "--by", "prompt_match", "--top", "1", cwd=folder.parent)
    assert (code, modules & HEAVY) == (0, set())
    assert names(run_cli("pick", "run", "--by", "prompt_match", "--top", "1")) == ["swapped.png"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--by", "sharpnes"], "did you mean sharpness?"),
        (["--by", "psnr"], "add --reference IMAGE"),
        (["--by", "rating"], "add --ratings FILE"),
        (["--by", "sharpness", "--per", "sku"], "--per sku: no image has it"),
        (["--by", "sharpness", "--per", "sku"], "they have dtype, "),
        (["--by", "sharpness", "--per", "promt"], "did you mean prompt?"),
        (["--by", "sharpness", "--link"], "--link has no effect without --out"),
        (["--by", "sharpness", "--force"], "--force has no effect without --out"),
        (
            ["--by", "sharpness", "--duplicate-distance", "4"],
            "--duplicate-distance has no effect without --unique",
        ),
        (["--by", "sharpness", "--ratings", "r"], "--ratings has no effect without --by rating"),
        (["--by", "rating", "--reference", "a.png"], "--reference has no effect without --by psnr"),
        (["--by", "sharpness", "-o", "run"], "--out run: the images are in it"),
        (["--by", "rating", "--ratings", "nowhere"], "nowhere: not the ratings"),
        (["--by", "psnr", "--reference", "nowhere.png"], "nowhere.png"),
        (["--by", "sharpness", "--top", "0"], "1 or more"),
    ],
)
def test_mistakes(run_cli: RunCli, folder: Path, argv: list[str], message: str) -> None:
    ran = run_cli("pick", "run", *argv)
    assert ran.code == ExitCode.USAGE
    assert message in ran.stderr
    assert "Traceback" not in ran.stderr
    assert not ran.stdout


def test_a_damaged_image_is_left_out(run_cli: RunCli, folder: Path) -> None:
    (folder / "half.png").write_bytes(b"\x89PNG")
    ran = run_cli("score", "run", "--json")
    assert (ran.code, len(ran.document["images"])) == (0, 3)
    assert "left out: run/half.png" in ran.stderr
    os.truncate(folder / "right.png", 10)
    assert run_cli("score", "run/half.png", "run/right.png").code == ExitCode.USAGE


def test_the_shapes_of_the_tests_differ() -> None:
    assert not np.array_equal(shapes("red circle", "blue star"), shapes("blue star", "red circle"))
