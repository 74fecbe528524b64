"""The documents and commands of the benchmark scenarios."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from sdcli.bench.backends import backend_commands, describe_backends
from sdcli.bench.full_size import describe_full_size, full_size_commands
from sdcli.bench.measure import Timing, measure
from sdcli.bench.planning import describe_planning, planning_commands
from sdcli.bench.savers import describe_savers, saver_commands
from sdcli.bench.scenarios import (
    SCRIPT_BATCH_SIZE,
    _denoising_seconds,
    _script_arguments,
    _script_batches,
    _sdcli_batches,
    describe_loading,
    shape_prompts,
    to_document,
)
from sdcli.bench.workers import worker_commands
from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER, read_defaults, unknown_words


def test_the_document_has_ratios_to_the_first_command():
    timings = [Timing(name="a", seconds=[1.0, 2.0]), Timing(name="b", seconds=[2.0, 4.0])]
    document = to_document("one", timings, {"b": {"load": 1.0}})
    assert document["schema"] == "sdcli/bench-one/1"
    assert document["rounds"] == 2
    first, second = document["contestants"]
    assert first == {
        "name": "a", "median_seconds": 1.5, "ratio": 1.0, "seconds": [1.0, 2.0], "split": None,
    }  # fmt: skip
    assert (second["ratio"], second["split"]) == (2.0, {"load": 1.0})
    assert json.loads(json.dumps(document)) == document


def test_the_script_has_the_settings_of_the_model():
    defaults = read_defaults(EMBEDDED_FOLDER)
    args = _script_arguments(EMBEDDED_FOLDER, defaults)
    assert args["steps"] == defaults.num_inference_steps
    assert (args["width"], args["height"]) == (defaults.width, defaults.height)
    assert args["scheduler_class"] == "DPMSolverMultistepScheduler"
    assert args["scheduler_config"]["algorithm_type"] == "dpmsolver++"
    assert json.loads(json.dumps(args)) == args


def test_a_batch_is_timed_one_by_one_and_in_batches(tmp_path):
    scripts = _script_batches({"prompts": ["x"]})
    sizes = [json.loads(command.argv[-1])["batch_size"] for command in scripts]
    assert sizes == [1, SCRIPT_BATCH_SIZE]
    commands = _sdcli_batches("embedded", ["a cat", "a dog"], str(tmp_path))
    assert [command.stdin for command in commands] == ["a cat\na dog\n"] * 2 + [""]
    assert (tmp_path / "prompts.txt").read_text() == "a cat\na dog\n"
    assert "--redo" in commands[-1].argv


def test_workers_are_timed_with_the_same_batch_in_one_process(tmp_path):
    one, two = worker_commands("embedded", ["a cat", "a dog"], str(tmp_path))
    assert (one.name, two.name) == ("sdcli batch", "sdcli batch --workers 2")
    assert [word for word in two.argv if word not in one.argv][:2] == ["--workers", "2"]
    assert (tmp_path / "prompts.txt").read_text() == "a cat\na dog\n"
    assert one.argv[-1] != two.argv[-1]


def test_loading_is_compared_in_pairs():
    names = ["plain, float16", "ours, float16", "plain, float32", "ours, float32"]
    runs = [(4, 2), (2, 1), (4, 4), (3, 5)]
    timings = [
        Timing(name=name, seconds=[9.0], stdout=[json.dumps({"load": load, "peak_gb": peak})])
        for name, (load, peak) in zip(names, runs, strict=True)
    ]
    document = describe_loading(timings)
    assert (document["load_ratio"], document["peak_gb_ratio"]) == ([0.5, 0.75], [0.5, 1.25])
    assert document["contestants"][3]["split"] == {"load": 3, "peak_gb": 5}


def test_denoising_seconds_are_summed_over_the_images():
    images = [{"seconds": {"denoise": 1.5}}, {"seconds": {"denoise": 0.5}}]
    assert _denoising_seconds(json.dumps({"images": images})) == 2.0


def test_shape_prompts_are_different_and_known_to_the_model():
    prompts = shape_prompts(100)
    assert len(set(prompts)) == 100
    assert len(set(shape_prompts(10**6))) == 450
    words = read_defaults(EMBEDDED_FOLDER).words
    assert words
    assert not [prompt for prompt in shape_prompts(450) if unknown_words(prompt, words)]


def test_planning_is_timed_for_each_format_and_for_seeds(tmp_path):
    commands = list(planning_commands(tmp_path, 3))
    assert [command.name for command in commands] == [
        "one line", "3 lines of jsonl", "3 lines of csv", "3 lines of txt", "3 seeds",
    ]  # fmt: skip
    for command in commands:
        file = next(Path(word) for word in command.argv if word.startswith(str(tmp_path)))
        suffix_is_listed = file.suffix == ".csv"
        expected = 1 if "one" in file.name else 3 + suffix_is_listed
        assert len(file.read_text().splitlines()) == expected
    usage = ['{"cpu": 1.0, "peak_gb": 0.03}'], ['{"cpu": 1.5, "peak_gb": 0.031}']
    names = ("one line", "3 lines of csv")
    timings = [Timing(name=n, seconds=[1.0], stdout=u) for n, u in zip(names, usage, strict=True)]
    document = describe_planning(timings, 5000)
    assert document["microseconds_per_image"] == [100.0]
    assert document["contestants"][1]["split"] == {"cpu": 1.5, "peak_gb": 0.031}


def test_the_script_that_plans_reports_its_own_use(tmp_path):
    [timing] = measure([list(planning_commands(tmp_path, 2))[1]], rounds=1)
    usage = json.loads(timing.stdout[0])
    assert usage["cpu"] > 0
    assert usage["peak_gb"] > 0.005


def test_savers_are_compared_with_the_full_run(tmp_path):
    commands = saver_commands("embedded", ["a cat", "a dog"], str(tmp_path))
    assert [command.name for command in commands] == [
        "--steps 20", "--steps 20 --feature-cache 2", "--steps 20 --feature-cache 3",
        "--steps 20 --guidance-every 2", "--steps 20 --guidance-every 3", "--steps 20 --draft",
        "--steps 16", "--steps 12", "--steps 10",
    ]  # fmt: skip
    assert len({command.argv[-1] for command in commands}) == len(commands)
    outputs = []
    for number, (seconds, value) in enumerate(((0.5, 100), (0.25, 110))):
        images = []
        for index in range(2):
            path = tmp_path / f"{number}-{index}.png"
            # The first image of both is the same.
            level = value if index else 100
            Image.fromarray(np.full((16, 16, 3), level, np.uint8)).save(path)
            images.append({"path": str(path), "seconds": {"denoise": seconds}})
        outputs.append(json.dumps({"images": images}))
    timings = [
        Timing(name=command.name, seconds=[9.0], stdout=[stdout])
        for command, stdout in zip(commands, outputs, strict=False)
    ]
    full, saver = describe_savers(timings)["contestants"]
    assert (full["ratio"], full["median_seconds"], full["lowest_psnr"]) == (1.0, 0.5, None)
    # 255 / 10 in decibels.
    assert (saver["ratio"], saver["seconds_saved"], saver["lowest_psnr"]) == (0.5, 0.25, 28.1)


def image_document(path: Path, level: int, draws: Sequence[float]) -> str:
    """What `generate --json` prints of an image of one colour, drawn in so many seconds."""
    Image.fromarray(np.full((16, 16, 3), level, np.uint8)).save(path)
    seconds = [
        {"import": 3.0, "load": 1.0, "encode": 0.5, "denoise": draw, "decode": 0.25, "save": 0.1}
        for draw in draws
    ]
    return json.dumps({"images": [{"path": str(path), "seconds": one} for one in seconds]})


def test_backends_are_compared_in_each_precision(tmp_path):
    commands = backend_commands("embedded", ("--count", "8"), str(tmp_path))
    names = [command.name for command in commands]
    assert names[:2] == ["torch, float32", "openvino, float32"]
    assert names[2:] in ([], ["torch, bfloat16", "openvino, bfloat16"])
    for command in commands:
        backend, dtype = command.name.split(", ")
        options = dict(pairwise(command.argv))
        assert (options["--backend"], options["--dtype"]) == (backend, dtype)
    assert len({command.argv[-1] for command in commands}) == len(commands)
    timings = [
        Timing(name=name, seconds=[9.0], stdout=[image_document(path, level, draws)])
        for name, path, level, draws in (
            ("torch, float32", tmp_path / "a.png", 100, (9.0, 2.25, 2.25)),
            ("openvino, float32", tmp_path / "b.png", 110, (9.0, 0.75, 0.75)),
        )
    ]
    document = describe_backends(timings)
    assert document["schema"] == "sdcli/bench-openvino/1"
    torch, openvino = document["contestants"]
    # Of all images the first one takes longest.
    assert (torch["median_seconds"], openvino["median_seconds"]) == (3.0, 1.5)
    assert (openvino["ratio"], openvino["lowest_psnr"], torch["lowest_psnr"]) == (0.5, 28.1, None)
    phases = {"load": 1.0, "encode": 0.5, "denoise": 0.75, "decode": 0.25}
    assert openvino["split"] == phases


def test_a_full_size_image_is_compared_with_the_script(tmp_path):
    commands = list(full_size_commands(str(tmp_path), str(EMBEDDED_FOLDER)))
    assert commands[0].name == "plain Diffusers script"
    args = json.loads(commands[0].argv[-1])
    assert (args["steps"], args["width"], args["height"]) == (4, 512, 512)
    assert commands[1].name == "sdcli generate"
    assert "--dtype" not in commands[1].argv
    seconds = {"import": 3.0, "load": 1.0, "draw": 8.0, "save": 0.1}
    plain = json.dumps({"seconds": seconds, "pixels_sha256": ["a"], "peak_gb": 5.0})
    image_document(tmp_path / "plain.png", 100, ())
    ours = image_document(tmp_path / "torch.png", 110, (3.25,)) + '\n{"peak_gb": 5.2}\n'
    timings = [
        Timing(name=name, seconds=[20.0], stdout=[text])
        for name, text in (("plain Diffusers script", plain), ("sdcli generate", ours))
    ]
    document = describe_full_size(timings, str(tmp_path))
    script, row = document["contestants"]
    assert (row["ratio"], row["seconds_saved"], row["lowest_psnr"]) == (0.5, 4.0, 28.1)
    assert (script["split"]["draw"], row["split"]) == (8.0, {"load": 1.0, "draw": 4.0,
                                                             "peak_gb": 5.2})  # fmt: skip
