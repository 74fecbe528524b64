"""`sdcli.batch`: a folder that Python and the command line continue for each other."""

from __future__ import annotations

import json
import os
import re
import signal
import warnings
from pathlib import Path
from typing import Any

import pytest

import sdcli
from sdcli import BatchResult, GenerationRequest, GenerationResult, SdcliError, SdcliWarning, engine
from sdcli.errors import NumericsError, UsageErrors
from sdcli.latents import LatentsSelection
from tests.conftest import RunCli

QUICK: dict[str, Any] = {"steps": 1, "size": "64x64", "seed": 7}
ARGV = ["--steps", "1", "--size", "64x64", "--seed", "7", "--guidance", "3"]
ROWS = [{"prompt": "a cat"}, {"prompt": "a dog", "steps": 2}]


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("rows.csv").write_text("prompt,steps\na cat,\na dog,2\n")


def counts(ran: BatchResult) -> tuple[int, int, int]:
    return ran.made, ran.skipped, ran.failed


def test_the_command_line_and_python_continue_each_other(run_cli: RunCli) -> None:
    assert run_cli("batch", "rows.csv", "-o", "cli", *ARGV).code == 0
    settings = {**QUICK, "guidance": 3}
    for prompts in ("rows.csv", Path("rows.csv"), [Path("rows.csv")], ROWS):
        assert counts(sdcli.batch(prompts, "cli", **settings)) == (0, 2, 0)

    ran = sdcli.batch(ROWS, out="python", **settings)
    assert counts(ran) == (2, 0, 0)
    assert ran.paths == (Path("python/0001-a-cat-7.png"), Path("python/0002-a-dog-7.png"))
    assert repr(ran) == "BatchResult(made=2, skipped=0, failed=0, folder='python', errors=0)"
    for path in ran.paths:
        assert path.read_bytes() == Path("cli", path.name).read_bytes()
    again = run_cli("batch", "rows.csv", "-o", "python", *ARGV)
    assert (again.code, again.stdout) == (0, "")


def test_columns_names_and_the_limit_are_those_of_the_command_line(run_cli: RunCli) -> None:
    Path("goods.csv").write_text("text,sku\na cat,A-1\na dog,B-2\na fish,C-3\n")
    rows = [{"text": text, "sku": sku} for text, sku in (("a cat", "A-1"), ("a dog", "B-2"))]
    options = {"extra": "keep", "prompt_column": "text", "name_template": "{sku}-{seed}"}
    ran = sdcli.batch("goods.csv", "goods", **QUICK, **options, limit=2)
    assert [path.name for path in ran.paths] == ["A-1-7.png", "B-2-7.png"]
    assert counts(sdcli.batch(rows, "goods", **QUICK, **options)) == (0, 2, 0)
    with pytest.raises(SdcliError, match="unknown field 'sku'"):
        sdcli.batch(rows, "goods", **QUICK, prompt_column="text")
    argv = ["--extra", "keep", "--prompt-column", "text", "--name-template", "{sku}-{seed}"]
    again = run_cli("batch", "goods.csv", "-o", "goods", *ARGV[:-2], *argv, "--limit", "2")
    assert (again.code, again.stdout) == (0, "")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"extra": "all"}, "extra: 'all' is not keep or ignore"),
        ({"prompt_column": " "}, "prompt_column: the name is empty"),
        ({"limit": 0}, "limit: 0 is not a whole number above 0"),
        ({"limit": True}, "limit: True is not a whole number above 0"),
    ],
)
def test_a_wrong_choice_of_rows_is_an_error(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SdcliError, match=message):
        sdcli.batch(["a cat"], **QUICK, **options)


def test_a_batch_of_prompts_and_requests_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    seen: list[GenerationResult] = []
    ran = sdcli.batch(["a cat", "a dog"], **QUICK, count=2, on_result=seen.append, sidecar=True)
    assert counts(ran) == (4, 0, 0)
    assert [result.path for result in seen] == list(ran.paths)
    assert seen[0].image.size == (64, 64)
    assert json.loads(Path("outputs/0001-a-cat-7.json").read_text())["request"]["seed"] == 7
    request = GenerationRequest(
        prompt="a cat", num_inference_steps=1, width=64, height=64, seed=7, count=2
    )
    assert counts(sdcli.batch([request])) == (0, 2, 0)
    assert counts(sdcli.batch([request], redo=True, force=True)) == (2, 0, 0)
    assert capfd.readouterr() == ("", "")


def test_invalid_entries_are_all_named_before_anything_is_made() -> None:
    rows = [{"prompt": "a cat", "steps": 0}, "a dog", {"prompt": "x", "size": "9x9"}]
    with pytest.raises(UsageErrors) as caught:
        sdcli.batch(rows, **QUICK)
    assert len(caught.value.several) == 3
    assert not list(Path("outputs").glob("*.png"))
    ran = sdcli.batch(rows, **QUICK, keep_going=True)
    assert counts(ran) == (1, 0, 0)
    assert str(ran.errors[0]) == "prompts[0]: steps: 0 is not between 1 and 1000"
    assert len(ran.errors) == 3
    Path("bad.csv").write_text("prompt,steps\na cat,0\n")
    with pytest.raises(SdcliError, match=r"^bad\.csv:2:7: steps: 0 is not") as one:
        sdcli.batch("bad.csv")
    assert not isinstance(one.value, UsageErrors)
    Path("mixed.csv").write_text("prompt,steps\na cat,0\na dog,1\n")
    ran = sdcli.batch("mixed.csv", "mixed", size="64x64", seed=7, keep_going=True)
    assert counts(ran) == (1, 0, 0)
    assert [str(error) for error in ran.errors] == [
        "mixed.csv:2:7: steps: 0 is not between 1 and 1000"
    ]


@pytest.mark.parametrize(
    ("prompts", "settings", "message"),
    [
        ("a cat", {}, "'a cat' is not a file"),
        ("-", {}, "'-' is not a file"),
        ("no.csv", {}, "no.csv: cannot be read"),
        ([], {}, "no prompt"),
        (5, {}, "int is not text or a list"),
        (["a cat", Path("rows.csv")], {}, "a prompt is text, a dict"),
        (["a cat"], {"redo": True, "retry_failed": True}, "can't be used together"),
        (
            ["a cat"],
            {"save_latents": LatentsSelection(), "latents_kinds": "x0"},
            "latents_kinds has no effect with a LatentsSelection",
        ),
        (["a cat"], {"latents_kinds": "x0"}, "latents_kinds has no effect without save_latents"),
        (["a cat"], {"input_format": "csv"}, "input_format is for files"),
        (["a cat"], {"out": "-"}, "out: '-' is not a file or a folder"),
        (["a cat"], {"kep_going": True}, "batch() has no argument 'kep_going'"),
    ],
    ids=str,
)
def test_mistakes_are_answered_in_python(
    prompts: Any, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(SdcliError) as caught:
        sdcli.batch(prompts, **settings)
    assert message in str(caught.value)
    assert "--" not in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize(
    ("settings", "warning"),
    [
        ({"guidance": [1, 4], "negative": "blue"}, "negative has no effect on the images of a"),
        ({"extra": "ignore"}, "'stepz' is no setting and is ignored; did you mean steps"),
    ],
)
def test_notes_about_entries_are_warnings(settings: dict[str, Any], warning: str) -> None:
    extra = {"stepz": 3} if "extra" in settings else {}
    prompts = [{"prompt": "a cat"}, {"prompt": "a dog", **extra}]
    with pytest.warns(SdcliWarning, match=warning) as caught:
        sdcli.batch(prompts, **QUICK, **settings)
    assert len([each for each in caught if re.search(warning, str(each.message))]) == 1


def test_a_failed_image_does_not_stop_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    real = engine.generate_batch

    def generate_batch(pipeline: Any, jobs: Any, **options: Any) -> Any:
        if "dog" in jobs[0].prompt:
            raise NumericsError("NaN", code="numerics.unet", hint="add --dtype float32")
        return real(pipeline, jobs, **options)

    with monkeypatch.context() as patch:
        patch.setattr(engine, "generate_batch", generate_batch)
        ran = sdcli.batch(["a dog", "a cat"], **QUICK, batch_size=1)
    assert counts(ran) == (1, 0, 1)
    assert [error.hint for error in ran.errors] == ["add dtype='float32'"]
    assert counts(sdcli.batch(["a dog", "a cat"], **QUICK)) == (0, 1, 1)
    assert counts(sdcli.batch(["a dog", "a cat"], **QUICK, retry_failed=True)) == (1, 1, 0)


def test_what_ends_a_run_is_raised_and_the_run_can_be_resumed() -> None:
    def fail(result: GenerationResult) -> None:
        raise OSError("the callback failed")

    with pytest.raises(OSError, match="the callback failed"):
        sdcli.batch(["a fish"], **QUICK, on_result=fail)

    def interrupt(result: GenerationResult) -> None:
        if result.job.index == 0:
            os.kill(os.getpid(), signal.SIGINT)

    # A warning tells that the image in progress is finished first, if there is one.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SdcliWarning)
        with pytest.raises(KeyboardInterrupt):
            sdcli.batch(["a cat", "a dog", "a fish"], **QUICK, batch_size=1, on_result=interrupt)
    ran = sdcli.batch(["a cat", "a dog", "a fish"], **QUICK)
    assert ran.skipped >= 1
    assert ran.made + ran.skipped == 3
