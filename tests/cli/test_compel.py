"""`--prompt-syntax compel` in images, records, replays, prompt files, dry runs and `tokens`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import RunCli

QUICK = ("--steps", "2", "--size", "64x64", "--seed", "7")
COMPEL = ("--prompt-syntax", "compel")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def draw(run_cli: RunCli, name: str, *argv: str) -> Any:
    ran = run_cli("generate", *argv, *QUICK, "-o", name)
    assert ran.code == 0, ran.stderr
    return json.loads(run_cli("inspect", name, "--json").stdout)


def test_an_image_is_recorded_and_replayed_in_its_syntax(run_cli: RunCli) -> None:
    weighted = draw(run_cli, "weighted.png", "a (cat)1.4 [x:y:1]", *COMPEL)
    plain = draw(run_cli, "plain.png", "a cat", *COMPEL)
    usual = draw(run_cli, "usual.png", "a cat")
    assert weighted["record"]["request"]["prompt_syntax"] == "compel"
    assert weighted["parameters"].startswith("a (cat:1.4) \\[x:y:1\\]\n")
    assert plain["record"]["job"] == usual["record"]["job"]
    assert plain["pixels_sha256"] == usual["pixels_sha256"]
    ran = run_cli("replay", "weighted.png", "--check", "--json")
    assert [c["verdict"] for c in json.loads(ran.stdout)["checks"]] == ["identical"]


def test_rows_choose_their_syntax_and_their_errors_have_a_line(run_cli: RunCli) -> None:
    lines = [{"prompt": "cat++", "prompt_syntax": "compel"}, {"prompt": "(cat:1.2)"}]
    Path("rows.jsonl").write_text("\n".join(map(json.dumps, lines)))
    plan = json.loads(run_cli("batch", "rows.jsonl", "--dry-run", "--json").stdout)
    assert [job["prompt_syntax"] for job in plan["jobs"]] == ["compel", "a1111"]
    ran = run_cli("batch", "rows.jsonl", "--dry-run", *COMPEL)
    assert ran.code == 2
    assert "rows.jsonl" in ran.stderr
    assert "A1111 writes a weight" in ran.stderr
    negative = run_cli("generate", "a cat", "-n", "a (dog", *COMPEL)
    assert (negative.code, "negative" in negative.stderr) == (2, True)
    assert "( is never closed (character 3)" in negative.stderr


def test_syntax_of_the_other_kind_is_a_warning(run_cli: RunCli) -> None:
    Path("compel.txt").write_text("a [cat:dog:0.5]\n")
    ran = run_cli("batch", "compel.txt", "--dry-run", *COMPEL)
    assert (ran.code, "is A1111's syntax" in ran.stderr) == (0, True)
    Path("a1111.txt").write_text("a (cat)++\n")
    ran = run_cli("batch", "a1111.txt", "--dry-run")
    assert (ran.code, "add --prompt-syntax compel" in ran.stderr) == (0, True)


def test_tokens_shows_weights_texts_and_what_is_cut_off(run_cli: RunCli) -> None:
    def parts(prompt: str) -> Any:
        document = json.loads(run_cli("tokens", prompt, *COMPEL, "--json").stdout)["prompt"]
        words = [
            [(prompt[w["start"] : w["end"]], w["weight"]) for c in p["chunks"] for w in c["words"]]
            for p in document["parts"]
        ]
        return words, [part["weight"] for part in document["parts"]], document["cut"]

    assert parts("a (cat)1.3") == ([[("a", 1), ("cat", 1.3)]], [1], None)
    blend = parts('("a cat", dog).blend(3, 1)')
    assert blend == ([[("a", 1), ("cat", 1)], [("dog", 1)]], [0.75, 0.25], None)
    cut = parts("cat " * 76 + "star++")[2]
    assert (cut["text"].split(), cut["tokens"]) == (["cat", "star"], 2)


def test_a_fault_is_told_with_the_name_of_its_prompt(run_cli: RunCli) -> None:
    for argv, text in (
        (("a (cat",), "prompt: ( is never closed (character 3)"),
        (("a cat", "-n", "a dog)"), "negative_prompt (--negative): ) closes nothing"),
    ):
        ran = run_cli("tokens", *argv, *COMPEL)
        assert (ran.code, text in ran.stderr) == (2, True), ran.stderr


def test_words_of_a_blend_have_no_places(run_cli: RunCli) -> None:
    blend = '("a cat", "a dog").blend(1, 1)'
    ran = run_cli("attention", blend, *QUICK, *COMPEL, "-o", "a.png")
    assert (ran.code, ".blend()" in ran.stderr) == (2, True)


def test_attention_finds_the_words_of_every_part(run_cli: RunCli) -> None:
    prompt = '("a cat++", "a dog").and()'
    ran = run_cli("attention", prompt, *QUICK, *COMPEL, "-o", "a.png", "--json")
    assert ran.code == 0, ran.stderr
    text = json.dumps(json.loads(ran.stdout))
    assert '"cat"' in text
    assert '"dog"' in text
