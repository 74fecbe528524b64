"""`sdcli bench`: the races measure the same work, and say so."""

from __future__ import annotations

import json
import subprocess

import pytest

from sdcli.bench import measure
from sdcli.bench.baselines import MANY, ONE
from sdcli.bench.scenarios import SEED, _ask, prompts_of_shapes
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER, read_defaults
from sdcli.errors import SdcliError


def test_the_plain_scripts_draw_what_sdcli_draws(run_cli, tmp_path):
    prompts = ["a red star on a blue background", "a cat"]
    ask = _ask(EMBEDDED_FOLDER, read_defaults(EMBEDDED_FOLDER))
    asked = json.dumps(ask | {"prompts": prompts, "batch_size": 1, "out": str(tmp_path)})
    plain = subprocess.run(
        measure.python("-c", MANY, asked), capture_output=True, text=True, check=True
    )
    ran = run_cli("generate", *prompts, "--seed", str(SEED), "--device", "cpu", "--json")
    digests = [image["pixels_sha256"] for image in ran.document["images"]]
    assert json.loads(plain.stdout)["pixels_sha256"] == digests


def test_the_script_of_one_is_the_script_of_many():
    shared = ONE.split("image = pipe(")[0]
    assert MANY.startswith(shared)


def test_seconds_are_split_by_phase(run_cli):
    ran = run_cli("generate", "a cat", "--steps", "2", "--json")
    [image] = ran.document["images"]
    phases = {"import", "load", "encode", "denoise", "decode", "save"}
    assert set(image["seconds"]) == phases
    assert all(seconds > 0 for phase, seconds in image["seconds"].items() if phase != "import")


def test_contestants_take_turns_and_the_first_round_is_not_counted():
    pair = [
        measure.BenchCommand(name="a", argv=measure.python("-c", "print(1)")),
        measure.BenchCommand(name="b", argv=measure.python("-c", "print(input())"), stdin="2"),
    ]
    first, second = measure.measure(pair, rounds=2)
    assert (first.stdout, second.stdout) == (["1\n"] * 2, ["2\n"] * 2)
    assert len(first.seconds) == 2
    assert first.ratio(first) == 1


def test_a_contestant_that_fails_ends_the_race():
    broken = measure.BenchCommand(
        name="broken", argv=measure.python("-c", "raise SystemExit('no')")
    )
    with pytest.raises(SdcliError, match="broken ended with 1: no"):
        measure.measure([broken], rounds=1)


@pytest.mark.parametrize(("text", "why"), [(None, "cannot read"), ("# nothing\n\n", "no prompt")])
def test_a_file_without_prompts_is_refused(run_cli, tmp_path, text, why):
    path = tmp_path / "prompts.txt"
    if text is not None:
        path.write_text(text)
    ran = run_cli("bench", "batch", "--prompts", str(path))
    assert ran.code == 2
    assert why in ran.stderr


def test_the_shapes_give_as_many_prompts_as_asked():
    prompts = prompts_of_shapes(100)
    assert len(set(prompts)) == 100
    assert len(prompts_of_shapes(10**6)) == 450
