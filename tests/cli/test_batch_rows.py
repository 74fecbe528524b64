"""Batches of tables with columns of their own: names, records, events, resuming."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sdcli.errors import ExitCode
from sdcli.storage.images.codec import read_image_info
from tests.conftest import Ran, RunCli

QUICK = ("--device", "cpu", "--steps", "1", "--size", "64x64", "--batch-size", "1")
KEPT = ("--prompt-column", "title", "--extra", "keep")
NAMED = (*KEPT, "--name-template", "{sku}-{seed}")
TABLE = "sku,title,seed,colour\nA/1,a cat,1,red\nB 2,a dog,2,\n"


@pytest.fixture
def table(tmp_path: Path) -> str:
    (tmp_path / "p.csv").write_text(TABLE)
    return "p.csv"


def events(ran: Ran) -> list[dict[str, Any]]:
    found = map(json.loads, ran.stdout.splitlines())
    return [event for event in found if event.get("event") == "image"]


def test_rows_name_their_images_and_are_found_again(run_cli: RunCli, table: str) -> None:
    argv = ("batch", table, *NAMED, *QUICK)
    first = events(run_cli(*argv, "--jsonl", "--limit", "1"))
    assert [Path(event["path"]).name for event in first] == ["A-1-1.png"]
    assert first[0]["extra"] == {"sku": "A/1", "colour": "red"}
    both = events(run_cli(*argv, "--jsonl"))
    assert [(Path(e["path"]).name, e["skipped"], e["file"], e["line"]) for e in both] == [
        ("A-1-1.png", True, "p.csv", 2),
        ("B-2-2.png", False, "p.csv", 3),
    ]
    assert both[0].keys() == both[1].keys()
    assert both[0]["pixels_sha256"] == first[0]["pixels_sha256"]
    record = read_image_info(both[1]["path"])["record"]
    assert record["extra"] == {"sku": "B 2", "colour": ""}
    assert "file" not in record
    assert run_cli(*argv).paths == []
    assert [path.name for path in run_cli(*argv, "--list-done").paths] == ["A-1-1.png", "B-2-2.png"]
    listed = run_cli(*argv, "--list-done", "--json").document["images"]
    assert [(image["skipped"], image["line"]) for image in listed] == [(True, 2), (True, 3)]
    assert run_cli(*argv, "--json").document["images"] == []


def test_names_and_extra_columns_decide_no_pixels(run_cli: RunCli, table: str) -> None:
    assert run_cli("batch", table, *NAMED, *QUICK).code == 0
    # The same jobs under other names are done.
    ran = run_cli("batch", table, "--prompt-column", "title", "--extra", "ignore", *QUICK)
    assert (ran.paths, "2 done before" in ran.stderr) == ([], True)
    for path in Path("outputs").glob("*.png"):
        ran = run_cli("replay", str(path), "-o", "again.png")
        assert ran.code == 0
        then, now = read_image_info(path), read_image_info("again.png")
        assert then["pixels_sha256"] == now["pixels_sha256"]
        assert then["record"]["extra"] == now["record"]["extra"]
        Path("again.png").unlink()


def test_names_that_are_taken_twice_stay_apart_in_every_start(
    run_cli: RunCli, tmp_path: Path
) -> None:
    (tmp_path / "p.jsonl").write_text(
        '{"prompt": "a cat", "name": "pet", "seed": 1}\n'
        '{"prompt": "a dog", "name": "pet.png", "seed": 2}\n'
        '{"prompt": "a fish", "name": "fish", "seed": [3, 4]}\n'
    )
    argv = ("batch", "p.jsonl", *QUICK)
    names = [path.name for path in run_cli(*argv).paths]
    assert [names[0], *names[2:]] == ["pet.png", "fish-3.png", "fish-4.png"]
    assert names[1].startswith("pet-")
    assert [path.name for path in run_cli(*argv, "--list-done").paths] == names
    assert read_image_info(Path("outputs") / names[0])["record"]["request"]["name"] == "pet"
    (tmp_path / "outputs" / "sdcli-journal.jsonl").unlink()
    assert [path.name for path in run_cli(*argv, "--list-done").paths] == names


def test_the_names_of_a_sweep_say_what_differs(run_cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("a cat --seed 1 --guidance 2,3.5\n")
    argv = ("batch", "p.txt", "--device", "cpu", "--steps", "1,2", "--size", "64x64")
    names = [path.name for path in run_cli(*argv).paths]
    assert names[0] == "0001-a-cat-1-steps-1-guidance-2.png"
    assert names[3] == "0004-a-cat-1-steps-2-guidance-3.5.png"
    ran = run_cli("generate", "a cat", "--seed", "1", *QUICK[:2], "--steps", "1,2", "-o", "g")
    assert [path.name for path in ran.paths] == [
        "0001-a-cat-1-steps-1.png",
        "0002-a-cat-1-steps-2.png",
    ]


def test_an_image_on_stdout_has_no_name(run_cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("prompt,seed,name\na cat,1,x\na dog,2,x\n")
    ran = run_cli("batch", "p.csv", *QUICK, "-o", "-", "--name-template", "{name}")
    assert (ran.code, "has no name" in ran.stderr) == (ExitCode.USAGE, True)


def test_a_dry_run_begins_with_its_summary(run_cli: RunCli, table: str) -> None:
    argv = ("batch", table, *NAMED, *QUICK, "--dry-run")
    short, long = run_cli(*argv), run_cli(*argv, "-v")
    assert short.stdout.startswith("images: 2\n")
    assert "a cat" not in short.stdout
    assert long.stdout.startswith(short.stdout)
    assert [line.split("  ")[-1] for line in long.stdout.splitlines()[-2:]] == ["a cat", "a dog"]
    document = run_cli(*argv, "--json", "--limit", "1").document
    assert (document["images"], len(document["jobs"])) == (1, 1)
    assert document["jobs"][0]["extra"] == {"sku": "A/1", "colour": "red"}


def test_a_dry_run_knows_the_time_from_another_folder(
    run_cli: RunCli, table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    argv = ("batch", table, *KEPT, *QUICK)
    assert "time: unknown; generate the first two" in run_cli(*argv, "--dry-run").stdout
    assert run_cli(*argv, "-o", "elsewhere", "--limit", "1").code == 0
    document = run_cli(*argv, "--dry-run", "--json").document
    assert document["timed_images"] == 2
    assert document["seconds"] is not None


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ((), ["p.csv:1:1: unknown field 'sku'", "--extra keep", "--prompt-column NAME"]),
        (("--prompt-column", "titel"), ["no column is named titel", "--prompt-column title?"]),
        (
            ("--prompt-column", "x"),
            ["no column is named x", "it has: sku, title, seed, colour"],
        ),
        (("--prompt-column", ""), ["--prompt-column: the name is empty"]),
        ((*KEPT, "--name-template", "{skuu}"), ["p.csv:2:1", "{skuu}", "did you mean sku?"]),
        ((*KEPT, "--name-template", "{x}"), ["columns sku, colour, index, file, line, and any"]),
        ((*KEPT, "--name-template", "../{sku}"), ["is not a file name"]),
        ((*KEPT, "--name-template", "{sku"), ["--name-template"]),
        ((*KEPT, "--limit", "0"), ["'--limit': '0' is not 1 or more"]),
        ((*KEPT, "--limit", "x"), ["--limit"]),
        (("--extra", "all"), ["--extra"]),
        (("--name", "x"), ["--name"]),
    ],
)
def test_mistakes_are_told(
    run_cli: RunCli, table: str, argv: tuple[str, ...], words: list[str]
) -> None:
    ran = run_cli("batch", table, *argv)
    assert (ran.code, ran.stdout) == (ExitCode.USAGE, "")
    for word in words:
        assert word in ran.stderr
    assert not Path("outputs").exists()


def test_a_misspelt_setting_is_pointed_out_once(run_cli: RunCli) -> None:
    text = '{"prompt": "a", "stpes": 3}\n{"prompt": "b", "stpes": 4}\n'
    argv = ("batch", "-", "--input-format", "jsonl", "--extra", "ignore", "--dry-run")
    assert run_cli(*argv, stdin=text).stderr.count("did you mean steps?") == 1


def test_a_value_that_no_record_can_hold_is_an_error(run_cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text('{"prompt": "a", "sku": "\\ud800"}\n')
    ran = run_cli("batch", "p.jsonl", "--extra", "keep", "--dry-run")
    assert ran.code == ExitCode.USAGE
    assert "p.jsonl:1" in ran.stderr
