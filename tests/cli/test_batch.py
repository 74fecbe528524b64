"""`sdcli batch` through the real main(): files, faults, dry runs, pictures."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER
from sdcli.errors import ExitCode
from sdcli.storage.images.codec import read_image_info
from sdcli.storage.process_owner import current_owner

PROMPTS = Path(__file__).parents[2] / "prompts"
QUICK = ("--device", "cpu", "--steps", "1")


def record(path):
    return read_image_info(path)["record"]["request"]


def write(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    return name


def test_a_file_becomes_pictures_in_its_order(run_cli, tmp_path):
    name = write(
        tmp_path, "a.txt", "--steps 1\na cat --seed 1\na dog --seed 2 --size 64x64\na fish"
    )
    ran = run_cli("batch", name, "--seed", "3", "--device", "cpu")
    assert (ran.code, ran.messages) == (0, "sdcli: 3 images made\n")
    records = [record(path) for path in ran.paths]
    assert [(r["prompt"], r["seed"], r["width"], r["num_inference_steps"]) for r in records] == [
        ("a cat", 1, 128, 1),
        ("a dog", 2, 64, 1),
        ("a fish", 3, 128, 1),
    ]


def test_a_recorded_request_is_a_line(run_cli, tmp_path):
    run_cli("generate", "a cat", "-s", "Euler a", "--seed", "5", *QUICK, "-o", "cat.png")
    write(tmp_path, "a.jsonl", json.dumps(record("cat.png")))
    again = run_cli("batch", "a.jsonl", "--batch-size", "1")
    assert (
        read_image_info(again.paths[0])["pixels_sha256"]
        == read_image_info("cat.png")["pixels_sha256"]
    )


def test_stdin_in_another_format(run_cli):
    ran = run_cli(
        "batch", "-", "--input-format", "jsonl", *QUICK, stdin='{"seed": 4}\n"a cat"\n"a dog"\n'
    )
    assert [(record(p)["prompt"], record(p)["seed"]) for p in ran.paths] == [
        ("a cat", 4),
        ("a dog", 4),
    ]


BAD = "a cat\na dog --stpes 3\na fish --steps 0 --seed x\na pig --size 100x128\na cow -- --eta 2\n"


def test_every_error_is_told_before_anything_is_drawn(run_cli, tmp_path):
    ran = run_cli("batch", write(tmp_path, "a.txt", BAD))
    assert ran.code == ExitCode.USAGE
    assert ran.stdout == ""
    told = [line for line in ran.stderr.splitlines() if line.startswith("sdcli: error: a.txt")]
    assert [line.split(": ")[2] for line in told] == [
        "a.txt:2:7",
        "a.txt:3:18",
        "a.txt:3:8",
        "a.txt:4:7",
        "a.txt:5:10",
    ]
    assert "did you mean steps?" in ran.stderr
    assert ran.stderr.splitlines()[-2] == "sdcli: error: 5 errors, nothing was generated"
    assert not (tmp_path / "outputs").exists()


def places(ran):
    """Of the errors that are told, where each is, and what it is about."""
    told = [line for line in ran.stderr.splitlines() if line.startswith("sdcli: error: ")]
    return [line.removeprefix("sdcli: error: ").split(": ")[0] for line in told]


def test_one_fault_of_a_line_hides_no_other(run_cli, tmp_path):
    line = "a cat --scheduler eulr --size 100x100 --eta 2 --stpes 3 --steps x --offline no --seed"
    ran = run_cli("batch", write(tmp_path, "a.txt", line), "--dry-run")
    columns = [int(place.split(":")[2]) for place in places(ran)[:-1]]
    assert sorted(columns) == [7, 24, 24, 39, 47, 57, len(line) + 1]
    line = "a cat --scheduler euler --size 100x128 --eta 0.5 --negative a dog --guidance 1"
    ran = run_cli("batch", write(tmp_path, "a.txt", line), "--dry-run")
    assert sorted(places(ran)[:-1]) == ["a.txt:1:25", "a.txt:1:40", "a.txt:1:67"]


MODELS = (
    "a cat\na dog --model ./missing\na cow --vae tinyy\na pig --model embeded --size 9x9\n"
    "a fox --model x/y\na owl --model x/y -- --offline\na elk --model empty\n"
    "a bee --model x/y --scheduler eulr\na ant --vae x/y --offline\n"
)


def test_models_and_vaes_that_cannot_be_are_told_with_their_lines(run_cli, tmp_path):
    (tmp_path / "empty").mkdir()
    name = write(tmp_path, "a.txt", MODELS)
    ran = run_cli("batch", name, "--dry-run")
    assert (ran.code, ran.stdout) == (ExitCode.USAGE, "")
    lines = [2, 3, 4, 6, 7, 8, 9]
    assert [int(place.split(":")[1]) for place in places(ran)[:-1]] == lines
    assert "a.txt:3:7: no VAE at 'tinyy'\nsdcli: hint: did you mean tiny?" in ran.stderr
    assert "did you mean embedded?" in ran.stderr
    kept = "".join(line + "\n" for line in MODELS.splitlines() if "x/y" not in line)
    ran = run_cli("batch", write(tmp_path, "b.txt", kept), "--dry-run", "--keep-going", "--json")
    assert ran.code == ExitCode.PARTIAL
    assert [job["prompt"] for job in ran.document["jobs"]] == ["a cat"]
    ran = run_cli("batch", "-", "--dry-run", "--keep-going", "--json", stdin=kept)
    assert [job["prompt"] for job in ran.document["jobs"]] == ["a cat"]


def test_a_model_of_the_command_line_is_no_fault_of_a_line(run_cli, tmp_path):
    name = write(tmp_path, "a.txt", "a cat\na dog\n")
    ran = run_cli("batch", name, "-m", "./missing", "--dry-run")
    assert ran.code == ExitCode.MODEL
    assert places(ran) == ["no model at './missing'"]
    ran = run_cli("batch", name, "-s", "eulr", "--dry-run")
    assert (ran.code, len(places(ran))) == (ExitCode.USAGE, 1)


def test_a_fault_of_the_defaults_is_told_once_and_where_it_is(run_cli, tmp_path):
    name = write(tmp_path, "a.txt", "--size 100x128\na cat\na dog\na cow --size 64x64\n")
    ran = run_cli("batch", name, "--dry-run")
    assert places(ran) == ["a.txt:1:1"]
    assert run_cli("batch", name, "--size", "72x72", "--dry-run").code == 0


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.txt", "", "no prompt in a.txt"),
        ("a.txt", "# no\n--steps 3\n", "no prompt in a.txt"),
        ("a.csv", "", "no prompt in a.csv"),
        ("a.csv", "prompt,steps\n,8\n", "no prompt in a.csv"),
        ("a.csv", "steps,seed\n8,1\n4,2\n", "a.csv:1:1: no column is named prompt"),
        ("a.json", "{}", "no prompt in a.json"),
        ("a.json", "[]", "no prompt in a.json"),
        ("a.toml", "", "no prompt in a.toml"),
    ],
)
def test_nothing_to_draw_is_an_error(run_cli, tmp_path, name, text, told):
    ran = run_cli("batch", write(tmp_path, name, text))
    assert (ran.code, places(ran)) == (ExitCode.USAGE, [told.split(": ")[0]])
    assert told in ran.stderr


@pytest.mark.parametrize(("keep_going", "code"), [((), 2), (("--keep-going",), 9)])
def test_a_dry_run_reads_its_stream_to_the_end(run_cli, keep_going, code):
    text = "a cat\na dog --stpes 3 --eta 2\na cow\na pig --steps 0\n"
    ran = run_cli("batch", "-", "--dry-run", "--json", *keep_going, stdin=text)
    assert ran.code == code
    assert places(ran) == ["stdin:2:7", "stdin:2:17", "stdin:4:7"]
    assert [job["prompt"] for job in ran.document["jobs"]] == ["a cat", "a cow"]


def test_files_that_cannot_be_read_are_not_left_out(run_cli, tmp_path):
    ran = run_cli("batch", write(tmp_path, "a.txt", "a cat"), "b.txt", "c.txt", "--keep-going")
    assert (ran.code, len(places(ran))) == (ExitCode.USAGE, 3)
    assert "--keep-going" not in ran.stderr


def test_redo_and_retry_failed_exclude_each_other(run_cli, tmp_path):
    ran = run_cli("batch", write(tmp_path, "a.txt", "a cat"), "--redo", "--retry-failed")
    assert ran.code == ExitCode.USAGE
    assert "--redo includes" in ran.stderr


def test_errors_as_json(run_cli, tmp_path):
    document = run_cli("batch", write(tmp_path, "a.txt", BAD), "--json").document
    assert len(document["errors"]) == 5
    assert document["exit_code"] == 2


@pytest.mark.parametrize("stream", [False, True])
def test_keep_going_draws_the_rest(run_cli, tmp_path, stream):
    source = ["-"] if stream else [write(tmp_path, "a.txt", BAD)]
    ran = run_cli("batch", *source, "--keep-going", *QUICK, stdin=BAD.replace("100", "96"))
    assert ran.code == ExitCode.PARTIAL
    assert record(ran.paths[0])["prompt"] == "a cat"
    assert len(ran.paths) == (2 if stream else 1)
    assert ":3:18: seed: 'x'" in ran.stderr


def test_a_bad_line_of_a_stream_comes_after_what_was_before_it(run_cli):
    ran = run_cli("batch", "-", *QUICK, stdin="a cat\na dog --stpes 3\na fish\n")
    assert ran.code == ExitCode.PARTIAL
    assert len(ran.paths) == 1
    assert "stdin:2:7: unknown field 'stpes'" in ran.stderr


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["nowhere.txt"], ["nowhere.txt: cannot be read", "No such file"]),
        (["."], [".: no images (", ".webp"]),
        (["a.foo"], ["a.foo: unknown prompt file format", "txt"]),
        (["a.txt", "-"], ["combined with other files"]),
        (["a.txt", "--steps", "0"], ["--steps", "0 is not between"]),
        (["a.txt", "--seed", "1..x"], ["seed"]),
        (["a.txt", "--replace", "dog=cat"], ["no prompt contains 'dog'"]),
        (["a.txt", "--replace", "dog"], ["OLD=NEW"]),
        (["a.txt", "--wildcards", "nowhere"], ["folder 'nowhere' not found"]),
        (["b.txt", "--wildcard-mode", "all"], ["b.txt:1:1: unknown wildcard __x__"]),
        (["c.csv", "--wildcards", "."], ["c.csv:2:3: unknown wildcard __x__"]),
        (["a.txt", "--batch-size", "0"], ["--batch-size"]),
        (["u.txt"], ["u.txt:1:4: not UTF-8", "save the file as UTF-8"]),
    ],
)
def test_usage_errors(run_cli, tmp_path, argv, words):
    write(tmp_path, "a.txt", "a cat")
    write(tmp_path, "b.txt", "a __x__")
    write(tmp_path, "c.csv", "seed,prompt\n1,a __x__\n")
    (tmp_path / "u.txt").write_bytes("caf\xe9".encode("latin-1"))
    ran = run_cli("batch", *argv)
    assert ran.code == ExitCode.USAGE
    assert ran.stdout == ""
    for word in words:
        assert word in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_flag_that_no_line_needs_is_told(run_cli, tmp_path):
    name = write(tmp_path, "a.txt", "a cat --steps 2\na dog --steps 3")
    assert "--steps" in run_cli("batch", name, "--steps", "1", "--dry-run").stderr


@pytest.mark.parametrize("path", sorted(PROMPTS.glob("*.*")), ids=lambda path: path.name)
def test_a_dry_run_of_every_example(run_cli, path, tmp_path):
    argv = ["--wildcards", str(PROMPTS / "wildcards")] if path.stem == "wildcards" else []
    document = run_cli("batch", str(path), "--dry-run", "--json", *argv).document
    assert document["schema"] == "sdcli/plan/1"
    assert document["images"] == len(document["jobs"]) >= 2
    assert document["disk_bytes"] > 0
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_tells_the_time_of_what_was_made_before(run_cli, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    (tmp_path / "a.txt").write_text("a cat\na dog\n")
    (tmp_path / "b.txt").write_text("a fish\na key --steps 3\na bus --width 64 --steps 2\n")
    assert "time: unknown" in run_cli("batch", "a.txt", "--steps", "2", "--dry-run").stdout
    assert run_cli("batch", "a.txt", "--steps", "2", "--batch-size", "1").code == 0
    journal = tmp_path / "outputs" / "sdcli-journal.jsonl"
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    seconds = [line["seconds"] for line in lines if line["event"] == "image"]
    with journal.open("a") as file:
        file.write('{"event": "image", "kind": [[], {}], "seconds": 9}\nno line\n')
    # The timings of all folders would tell the time of three steps, too.
    (tmp_path / "user" / "sdcli" / "timings.json").unlink()
    ran = run_cli("batch", "a.txt", "b.txt", "--steps", "2", "--dry-run", "--json")
    assert (ran.document["done"], ran.document["timed_images"]) == (2, 1)
    assert ran.document["seconds"] == pytest.approx(sum(seconds) / 2, abs=0.06)
    told = run_cli("batch", "b.txt", "--steps", "2", "--dry-run").stdout
    assert "2 images whose time is unknown" in told
    assert not list(tmp_path.glob("*/**/.sdcli*"))


def test_a_dry_run_knows_what_is_done_and_which_seeds_fall(run_cli, tmp_path):
    write(tmp_path, "a.txt", "a cat\na {red|blue} star\na dog --seed 5\n")
    argv = ("batch", "a.txt", "--wildcard-mode", "random", *QUICK)
    assert len(run_cli(*argv).paths) == 3
    lost = next(tmp_path.glob("outputs/*-dog-5.png"))
    lost.unlink()
    before = sorted(tmp_path.rglob("*"))
    plan = run_cli(*argv, "--dry-run", "--json").document
    assert [job["done"] for job in plan["jobs"]] == [True, True, False]
    assert (plan["images"], plan["done"], plan["groups"], plan["timed_images"]) == (3, 2, 1, 1)
    made = {record(path)["prompt"]: record(path)["seed"] for path in tmp_path.glob("outputs/*.png")}
    assert all(made[job["prompt"]] == job["seed"] for job in plan["jobs"][:2])
    assert sorted(tmp_path.rglob("*")) == before
    assert "2 done" in run_cli(*argv, "--dry-run").stdout.splitlines()[0]
    assert run_cli(*argv).paths == [lost.relative_to(tmp_path)]
    assert "everything is done" in run_cli(*argv, "--dry-run").stdout


def test_another_vae_loads_without_the_rest(run_cli, tmp_path, monkeypatch):
    from sdcli import engine

    write(
        tmp_path,
        "a.txt",
        "".join(f"a cat {i} --vae {'tiny' if i % 2 else 'own'}\n" for i in range(4)),
    )
    loads, load = [], engine.load
    monkeypatch.setattr(
        engine, "load", lambda spec, like=None, **_: loads.append(like) or load(spec, like=like)
    )
    argv = ("batch", "a.txt", "--seed", "7", "--batch-size", "1", *QUICK)
    assert run_cli(*argv, "--dry-run", "--json").document["model_loads"] == 1
    together = [read_image_info(path)["pixels_sha256"] for path in run_cli(*argv).paths]
    assert [like is not None for like in loads[-1:]] == [True]
    assert len(loads) == 2
    for i, digest in enumerate(together):
        vae = "tiny" if i % 2 else "own"
        alone = run_cli("generate", f"a cat {i}", "--vae", vae, "--seed", "7", *QUICK, "-o", "x")
        assert read_image_info(alone.paths[0])["pixels_sha256"] == digest


def test_a_dry_run_for_people(run_cli, tmp_path):
    write(tmp_path, "a.txt", "a cat --seed 1\na dog --vae tiny")
    ran = run_cli("batch", "a.txt", "--steps", "4,8", "--dry-run", "-v")
    lines = ran.stdout.splitlines()
    assert lines[:1] == ["images: 4"]
    assert lines[1].startswith("groups: 4")
    assert lines[2] == "model loads: 1 (embedded)"
    jobs = lines[5:]
    assert "  4 steps  " in jobs[0]
    assert jobs[0].endswith("seed 1  a cat")
    assert "seed random" in jobs[3]


def test_ten_thousand_jobs_are_planned_without_torch(tmp_path):
    lines = "".join(json.dumps({"prompt": f"a cat {i}", "seed": i}) + "\n" for i in range(10_000))
    (tmp_path / "many.jsonl").write_text(lines)
    code = (
        "import sys; from sdcli.cli import main; code = main(sys.argv[1:]);"
        "heavy = {'torch', 'diffusers', 'transformers', 'PIL', 'yaml', 'dynamicprompts'};"
        "sys.exit(code or bool(heavy & set(sys.modules)))"
    )
    argv = ["batch", "many.jsonl", "--dry-run", "--jsonl"]
    ran = subprocess.run(
        [sys.executable, "-c", code, *argv],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert ran.returncode == 0, ran.stderr
    *jobs, total = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [job["seed"] for job in jobs] == list(range(10_000))
    assert (total["images"], total["groups"], total["model_loads"]) == (10_000, 1, 1)


def test_a_sweep_and_wildcards_of_generate(run_cli):
    ran = run_cli(
        "generate",
        "a {red|blue} star",
        "--wildcard-mode",
        "all",
        "--steps",
        "1,2",
        "--seed",
        "1..2",
    )
    made = [record(path) for path in ran.paths]
    assert [(r["prompt"], r["num_inference_steps"], r["seed"]) for r in made] == [
        (prompt, steps, seed)
        for steps in (1, 2)
        for seed in (1, 2)
        for prompt in ("a red star", "a blue star")
    ]
    assert run_cli("generate", "a cat", "--replace", "dog=fox").code == ExitCode.USAGE


def test_wildcards_without_a_seed_are_drawn_once_and_stay(run_cli, tmp_path):
    write(tmp_path, "w.txt", "a {red|blue|green|pink} star\n" * 3 + "a {cat|dog} --count 2\n")
    argv = ("batch", "w.txt", "--wildcard-mode", "random", *QUICK)
    plan = run_cli(*argv, "--dry-run", "--json").document
    assert {job["seed"] for job in plan["jobs"]} == {None}
    first = run_cli(*argv)
    assert (first.code, len(first.paths)) == (0, 5)
    assert not any("{" in record(path)["prompt"] for path in first.paths)
    prompts = {record(path)["prompt"] for path in first.paths}
    assert prompts <= {f"a {c} star" for c in ("red", "blue", "green", "pink")} | {"a cat", "a dog"}
    second = run_cli(*argv)
    assert (second.paths, "5 done before" in second.stderr) == ([], True)
    ran = run_cli("generate", "a {red|blue} star", "--wildcard-mode", "random", *QUICK, "-o", "g")
    assert record(ran.paths[0])["prompt"] in ("a red star", "a blue star")


def test_a_grid_shows_the_sweep_beside_its_pictures(run_cli):
    ran = run_cli(
        "generate", "a cat", "--steps", "1,2", "-s", "ddim,euler", "--grid", "steps,scheduler"
    )
    *pictures, grid = ran.paths
    assert len(pictures) == 4
    assert len({record(path)["seed"] for path in pictures}) == 1
    with Image.open(grid) as sheet:
        assert sheet.width >= 2 * 128
        assert sheet.height >= 2 * 128
        whole = np.asarray(sheet.convert("RGB"))
    for path in pictures:
        assert _holds(whole, np.asarray(Image.open(path).convert("RGB")))


def _holds(whole, part):
    """Whether the picture is somewhere in the other one, to the bit."""
    height, width, _ = part.shape
    rows, columns = np.nonzero((whole == part[0, 0]).all(axis=2))
    return any(
        np.array_equal(whole[y : y + height, x : x + width], part)
        for y, x in zip(rows, columns, strict=True)
    )


def test_prompts_that_differ_otherwise_have_grids_of_their_own(run_cli):
    ran = run_cli("generate", "a cat", "a dog", *QUICK[:2], "--steps", "1,2", "--grid", "steps")
    assert [path.name.split("-")[1] == "grid" for path in ran.paths] == [False] * 4 + [True] * 2


@pytest.mark.parametrize(
    "argv",
    [
        ["--grid", "steps,scheduler"],
        ["--grid", "steps", "--json", "--steps", "1,2"],
        ["--grid", "stpes"],
        ["--grid", "steps,steps", "--steps", "1,2"],
    ],
)
def test_grids_that_cannot_be(run_cli, argv):
    assert run_cli("generate", "a cat", *argv).code == ExitCode.USAGE


def test_a_batch_draws_its_grids_from_what_is_on_disk(run_cli, tmp_path):
    write(tmp_path, "a.txt", "a cat\na dog\n")
    argv = ("batch", "a.txt", "--seed", "3", "--steps", "1,2", "-s", "ddim,euler")
    argv += ("--batch-size", "1")  # so that one made again is equal to the bit
    assert len(run_cli(*argv).paths) == 8
    first = run_cli(*argv, "--grid", "steps,scheduler")
    assert [path.name.split("-")[0] for path in first.paths] == ["grid", "grid"]
    whole = [np.asarray(Image.open(path).convert("RGB")) for path in first.paths]
    pictures = sorted(tmp_path.glob("outputs/0*.png"))
    for path in pictures:
        part = np.asarray(Image.open(path).convert("RGB"))
        assert sum(_holds(grid, part) for grid in whole) == 1
    pictures[5].unlink()
    second = run_cli(*argv, "--grid", "steps,scheduler")
    assert [path.name.startswith("grid") for path in second.paths] == [False, True, True]
    assert second.paths[1:] == first.paths
    for path, before in zip(first.paths, whole, strict=True):
        assert np.array_equal(np.asarray(Image.open(path).convert("RGB")), before)


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (("a.txt",), "add --seed"),
        (("-", "--seed", "1"), "read twice"),
        (("a.txt", "--seed", "1", "-o", "-"), "stdout"),
    ],
)
def test_batches_that_can_have_no_grid(run_cli, tmp_path, argv, told):
    write(tmp_path, "a.txt", "a cat\n")
    ran = run_cli("batch", *argv, "--steps", "1,2", "--grid", "steps")
    assert ran.code == ExitCode.USAGE
    assert told in ran.stderr


def test_stdin_is_not_shared_by_ranks(run_cli, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    ran = run_cli("batch", "-", stdin="a cat")
    assert ran.code == 2
    assert "cannot be read by several ranks" in ran.stderr


def test_a_model_that_does_not_load_stops_no_other(run_cli, tmp_path):

    bad = Path(shutil.copytree(EMBEDDED_FOLDER, tmp_path / "bad"))
    unet = bad / "unet" / "diffusion_pytorch_model.safetensors"
    unet.write_bytes(unet.read_bytes()[:200_000])
    lines = [{"prompt": "x", "model": "bad"}, {"prompt": "a cat"}, {"prompt": "y", "model": "bad"}]
    Path("p.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    argv = ("batch", "p.jsonl", "--seed", "1", "--steps", "1", "--size", "64x64", "-o", "o")
    ran = run_cli(*argv, "--jsonl")
    events = [json.loads(line) for line in ran.stdout.splitlines()]
    assert ran.code == 9
    assert [e["prompt"] for e in events if e["event"] == "image"] == ["a cat"]
    assert [e["indices"] for e in events if e["event"] == "failed"] == [[0, 2]]
    assert (events[-1]["made"], events[-1]["failed"]) == (1, 2)
    shutil.copy(EMBEDDED_FOLDER / "unet" / unet.name, unet)
    assert run_cli(*argv, "--jsonl").code == 0
    assert len(list(Path("o").glob("*.png"))) == 3


@pytest.mark.parametrize("suffix", [".json", ".latents.safetensors"])
def test_a_batch_overwrites_no_companion_of_another_image(run_cli, tmp_path, suffix):
    Path("prompts.txt").write_text("a cat\n")
    options = ("batch", "prompts.txt", "--steps", "1", "--seed", "7", "-o", "out")
    Path("out").mkdir()
    mine = Path("out", f"0001-a-cat-7{suffix}")
    mine.write_bytes(b"mine")
    ran = run_cli(*options, "--sidecar", "--save-latents", "final")
    assert ran.code == 0, ran.stderr
    assert mine.read_bytes() == b"mine"
    [image] = ran.paths
    stem = image.name.removesuffix(".png")
    assert stem.startswith("0001-a-cat-7-")
    assert Path("out", f"{stem}.json").exists()
    assert Path("out", f"{stem}.latents.safetensors").exists()
    mine.write_bytes(b"mine")
    assert run_cli(*options, "--sidecar", "--redo", "--force").code == 0


def test_generate_sweeps_the_files_of_dead_processes(run_cli):
    Path("out").mkdir()
    owner = replace(current_owner(), start="1")  # its id belongs to another process now
    name = f".sdcli-{owner.host}-{owner.place}-{owner.start}-{owner.pid}-01234567.part"
    Path("out", name).touch()
    assert run_cli("generate", "a cat", "--steps", "1", "-o", "out").code == 0
    assert not Path("out", name).exists()


def test_a_forged_journal_is_reported_once(run_cli):
    Path("prompts.txt").write_text("a cat\na dog\n")
    Path("out").mkdir()
    line = {"event": "image", "job": "ab", "occurrence": 0, "name": "../\x1b[31m.png"}
    Path("out", "sdcli-journal.jsonl").write_text((json.dumps(line) + "\n") * 3)
    ran = run_cli("batch", "prompts.txt", "--steps", "1", "-o", "out")
    assert ran.code == 0
    assert ran.stderr.count("3 lines are ignored") == 1
    assert "\x1b" not in ran.stderr


def _bad_lines(job: dict[str, Any]) -> list[dict[str, Any]]:
    """Lines about a job that make it done no more: without hashes, with names of no file of it."""
    bare = {name: value for name, value in job.items() if not name.endswith("sha256")}
    names = ("../../mine.png", "a\0.png", "\ud800.png", "..", "", "/etc/passwd", "sub/mine.png", 5)
    return [
        bare,
        bare | {"name": "../mine.png"},
        *(job | {"name": name} for name in names),
        job | {"beside": ["../mine.json"]},
        job | {"beside": ["\ud800"]},
    ]


def test_jobs_whose_lines_are_forged_are_drawn_again(run_cli, tmp_path):
    count = len(_bad_lines({}))
    Path("prompts.txt").write_text("".join(f"a cat {i}\n" for i in range(count)))
    argv = (
        "batch",
        "prompts.txt",
        "--steps",
        "1",
        "--size",
        "64x64",
        "--seed",
        "7",
        "-o",
        "sub/out",
    )
    assert run_cli(*argv).code == 0
    journal = Path("sub/out/sdcli-journal.jsonl")
    head, *lines = journal.read_text().splitlines()
    jobs = sorted(map(json.loads, lines), key=lambda job: job["index"])
    hashes = {path.name: path.read_bytes() for path in Path("sub/out").glob("*.png")}
    for path in Path("sub/out").glob("*.png"):
        path.unlink()
    others = [Path("mine.png"), Path("sub/mine.png"), Path("sub/mine.json")]
    for path in others:
        path.write_bytes(b"mine")
    forged = [_bad_lines(job)[i] for i, job in enumerate(jobs)]
    journal.write_text("\n".join([head, *map(json.dumps, forged)]) + "\n")
    ran = run_cli(*argv)
    assert ran.code == 0, ran.stderr
    assert len(ran.paths) == count
    assert {path.name: path.read_bytes() for path in Path("sub/out").glob("*.png")} == hashes
    assert {path.read_bytes() for path in others} == {b"mine"}
    assert {path.name for path in Path("sub").iterdir()} == {"out", "mine.png", "mine.json"}
    assert run_cli(*argv).paths == []


def test_a_dry_run_warns_of_a_run_that_does_not_begin_at_the_noise(run_cli):
    Path("prompts.txt").write_text("a cat\na dog\n")
    for steps, count in (("501", 1), ("500", 0)):
        argv = ("batch", "prompts.txt", "-s", "ddim", "--steps", steps, "--dry-run")
        told = run_cli(*argv).stderr
        assert told.count("DDIMScheduler;timestep_spacing=trailing") == count
