"""The syntax of prompts on the command line, in prompt files, in records and in replays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sdcli.storage.metadata.record import record_request
from tests.conftest import RunCli

QUICK = ("--steps", "2", "--size", "64x64", "--seed", "7")


def draw(run_cli: RunCli, name: str, *argv: str) -> Any:
    """Draw an image, and return what `inspect` says of it."""
    ran = run_cli("generate", *argv, *QUICK, "-o", name)
    assert ran.code == 0, ran.stderr
    return json.loads(run_cli("inspect", name, "--json").stdout)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_weights_change_the_image_and_replay_draws_it_again(run_cli: RunCli) -> None:
    weighted = draw(run_cli, "weighted.png", "a (cat:1.4)")
    words = draw(run_cli, "words.png", "a (cat:1.4)", "--prompt-syntax", "plain")
    none = draw(run_cli, "none.png", "a cat")
    assert len({d["pixels_sha256"] for d in (weighted, words, none)}) == 3
    assert len({d["record"]["job"] for d in (weighted, words, none)}) == 3
    assert weighted["record"]["request"]["prompt_syntax"] == "a1111"
    assert words["record"]["request"]["prompt_syntax"] == "plain"
    assert weighted["parameters"].startswith("a (cat:1.4)\n")
    assert words["parameters"].startswith("a \\(cat:1.4\\)\n")
    ran = run_cli("replay", "weighted.png", "words.png", "--check", "--json")
    assert [c["verdict"] for c in json.loads(ran.stdout)["checks"]] == ["identical"] * 2


def test_a_prompt_without_syntax_is_the_same_job_in_both(run_cli: RunCli) -> None:
    ours = draw(run_cli, "ours.png", "a cat")
    plain = draw(run_cli, "plain.png", "a cat", "--prompt-syntax", "plain")
    assert ours["record"]["job"] == plain["record"]["job"]
    assert ours["pixels_sha256"] == plain["pixels_sha256"]


def test_escaped_brackets_draw_what_plain_brackets_did(run_cli: RunCli) -> None:
    escaped = draw(run_cli, "escaped.png", r"a \(cat\)")
    plain = draw(run_cli, "plain.png", "a (cat)", "--prompt-syntax", "plain")
    assert escaped["pixels_sha256"] == plain["pixels_sha256"]


def test_a_record_without_a_syntax_is_one_of_words() -> None:
    """Version 0.1.0 drew brackets as words."""
    record = {"schema": "sdcli/record/1", "request": {"prompt": "a (cat)"}}
    assert record_request(record, Path("old.png")).prompt_syntax == "plain"
    record["request"] = {"prompt": "a (cat)", "prompt_syntax": "a1111"}
    assert record_request(record, Path("new.png")).prompt_syntax == "a1111"


def test_a_replayed_image_keeps_its_syntax_with_another_prompt(run_cli: RunCli) -> None:
    draw(run_cli, "cat.png", "a cat")
    ran = run_cli("replay", "cat.png", "--set", "prompt=a (cat:1.4)", "-o", "changed.png")
    assert ran.code == 0, ran.stderr
    changed = json.loads(run_cli("inspect", "changed.png", "--json").stdout)
    assert changed["pixels_sha256"] == draw(run_cli, "w.png", "a (cat:1.4)")["pixels_sha256"]


def test_an_image_of_a1111_is_drawn_as_it_was_meant(run_cli: RunCli) -> None:
    from PIL.PngImagePlugin import PngInfo

    text = "a (cat:1.4)\nSteps: 2, Sampler: DDIM, CFG scale: 3, Seed: 7, Size: 64x64"
    info = PngInfo()
    info.add_text("parameters", text)
    Image.new("RGB", (64, 64)).save("theirs.png", pnginfo=info)
    line = run_cli("inspect", "theirs.png", "--as-prompt-line").stdout
    Path("theirs.jsonl").write_text(line)
    ran = run_cli("batch", "theirs.jsonl", "-o", "out", "--json")
    [image] = json.loads(ran.stdout)["images"]
    meant = json.loads(run_cli("inspect", image["path"], "--json").stdout)
    assert meant["record"]["request"]["prompt"] == "a (cat:1.4)"
    assert meant["record"]["request"]["prompt_syntax"] == "a1111"
    ran = run_cli("batch", "theirs.jsonl", "-o", "plain", "--prompt-syntax", "plain", "--json")
    [image] = json.loads(ran.stdout)["images"]
    words = json.loads(run_cli("inspect", image["path"], "--json").stdout)
    assert words["pixels_sha256"] != meant["pixels_sha256"]


def test_the_syntax_is_a_field_and_a_sweep(run_cli: RunCli) -> None:
    Path("prompts.jsonl").write_text(
        '{"prompt": "a (cat)", "prompt_syntax": "plain"}\n{"prompt": "a (cat)"}\n'
    )
    plan = json.loads(run_cli("batch", "prompts.jsonl", "--dry-run", "--json").stdout)
    assert [job["prompt_syntax"] for job in plan["jobs"]] == ["plain", "a1111"]
    ran = run_cli("batch", "prompts.jsonl", "--prompt-syntax", "plain", "--dry-run", "--json")
    assert [job["prompt_syntax"] for job in json.loads(ran.stdout)["jobs"]] == ["plain"] * 2
    Path("sweep.jsonl").write_text('{"prompt": "(cat)", "prompt_syntax": ["a1111", "plain"]}\n')
    plan = json.loads(run_cli("batch", "sweep.jsonl", "--dry-run", "--json").stdout)
    assert [job["prompt_syntax"] for job in plan["jobs"]] == ["a1111", "plain"]


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (("a AND b", "--guidance", "1"), "AND needs guidance"),
        (("a AND b", "--guidance-from", "0.5"), "--guidance-from"),
        (("a", "--prompt-syntax", "invokeai"), "is not one of a1111, compel, plain"),
        (("a", "--prompt-syntax", "a1"), "is not one of a1111, compel, plain"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name(
    run_cli: RunCli, argv: tuple[str, ...], text: str
) -> None:
    ran = run_cli("generate", *argv, *QUICK)
    assert ran.code == 2
    assert text in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_prompt_with_and_is_refused_after_one_without(run_cli: RunCli) -> None:
    """Settings without faults are remembered, but AND has its own."""
    ran = run_cli("generate", "a b", "a AND b", "--guidance", "1", *QUICK)
    assert (ran.code, "AND needs guidance" in ran.stderr) == (2, True)
    plain = ("--prompt-syntax", "plain")
    assert run_cli("generate", "a AND b", "--guidance", "1", *QUICK, *plain).code == 0


def test_words_within_syntax_are_known(run_cli: RunCli) -> None:
    ran = run_cli("generate", "a (cat:1.3) [dog:fish:0.5]", *QUICK)
    assert "does not know" not in ran.stderr
    ran = run_cli("generate", "a (cat:1.3) [dog:qwert:0.5]", *QUICK)
    assert "does not know these words: qwert" in ran.stderr
