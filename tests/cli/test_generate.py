"""`sdcli generate` through the real main(), on the embedded model."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from sdcli import GenerationRequest, generate
from sdcli.errors import ExitCode
from sdcli.storage.images.codec import read_image_info
from tests.conftest import RunCli
from tests.processes import start_fork

QUICK = ("--steps", "2", "--seed", "7", "--device", "cpu")


def test_a_prompt_becomes_a_picture_whose_path_is_printed(run_cli):
    ran = run_cli("generate", "a cat", *QUICK)
    assert ran.code == 0
    [path] = ran.paths
    assert path.name == "0001-a-cat-7.png"
    with Image.open(path) as image:
        assert image.size == (128, 128)
    assert ran.stderr == ""


def test_several_prompts_and_counts_come_in_order_with_counted_seeds(run_cli):
    ran = run_cli("generate", "a cat", "a dog", "--count", "2", *QUICK, "--jsonl")
    events = [json.loads(line) for line in ran.stdout.splitlines()]
    assert (events[0]["event"], events[-1]["event"]) == ("started", "done")
    assert [event["step"] for event in events if event["event"] == "step"][-1] == 2
    lines = [event for event in events if event["event"] == "image"]
    assert [(line["prompt"], line["seed"]) for line in lines] == [
        ("a cat", 7),
        ("a cat", 8),
        ("a dog", 7),
        ("a dog", 8),
    ]
    assert [line["index"] for line in lines] == [0, 1, 2, 3]


def test_an_image_of_a_count_is_the_same_alone(run_cli):
    hashes = [
        read_image_info(
            run_cli("generate", "a cat", *argv, "--device", "cpu", "--steps", "2").paths[-1]
        )
        for argv in (("--seed", "7", "--count", "2"), ("--seed", "8"))
    ]
    assert hashes[0]["pixels_sha256"] == hashes[1]["pixels_sha256"]


def test_prompts_on_stdin_share_a_batch_when_they_have_arrived(run_cli):
    ran = run_cli(
        "generate", "-", "--batch-size", "4", "--json", *QUICK, stdin="a cat\n# no\n\na dog\n"
    )
    images = ran.document["images"]
    assert [image["prompt"] for image in images] == ["a cat", "a dog"]
    assert [image["batch_size"] for image in images] == [2, 2]
    assert ran.document["errors"] == []


def test_json_is_one_document_and_names_whole_files(run_cli):
    ran = run_cli("generate", "a cat", *QUICK, "--json", "-o", "cat.png")
    assert ran.document["schema"] == "sdcli/run/1"
    [image] = ran.document["images"]
    assert read_image_info(image["path"])["pixels_sha256"] == image["pixels_sha256"]


def test_out_dash_is_the_image_itself(run_cli):
    del run_cli  # for its folder
    argv = ("generate", "a cat", "--steps", "1", "-o", "-")
    with Path("a.png").open("wb") as file:
        process = start_fork(*argv, stdout=file, stderr=subprocess.PIPE)
    assert process.communicate()[1] == ""
    assert Path("a.png").read_bytes().startswith(b"\x89PNG")


def test_words_of_another_world_are_told_once(run_cli):
    ran = run_cli("generate", "a zebrafish", "a zebrafish and a dodecahedron", *QUICK)
    assert ran.code == 0
    assert ran.stderr.count("zebrafish") == 1
    assert ran.stderr.count("dodecahedron") == 1
    assert ran.stderr.count("-m ") == 1


def test_quiet_is_quiet(run_cli):
    ran = run_cli("generate", "a zebrafish", *QUICK, "-q")
    assert (ran.code, ran.stderr) == (0, "")


def test_the_record_is_in_the_image_beside_it_or_nowhere(run_cli):
    run_cli("generate", "a cat", *QUICK, "-o", "with.png", "--sidecar")
    run_cli("generate", "a cat", *QUICK, "-o", "without.png", "--no-metadata")
    with_record, without = read_image_info("with.png"), read_image_info("without.png")
    assert with_record["pixels_sha256"] == without["pixels_sha256"]
    assert without["record"] is None
    assert json.loads(Path("with.json").read_text("utf-8")) == with_record["record"]
    request = GenerationRequest.from_dict(with_record["record"]["request"])
    assert (request.prompt, request.seed, request.num_inference_steps) == ("a cat", 7, 2)


def test_a_record_makes_the_same_picture_again(run_cli):
    run_cli("generate", "a cat", "--steps", "3", "-s", "euler_a simple", "-o", "cat.png")
    document = read_image_info("cat.png")
    [again] = generate(GenerationRequest.from_dict(document["record"]["request"]))
    from sdcli.storage.metadata.record import pixels_sha256

    assert pixels_sha256(again.pixels) == document["pixels_sha256"]


@pytest.mark.parametrize(("which", "names"), [("final", {"final"}), ("all", None)])
def test_latents_are_written_beside_the_image(run_cli, which, names):
    from safetensors.numpy import load_file

    ran = run_cli("generate", "a cat", *QUICK, "--save-latents", which, "--json")
    latents = load_file(ran.document["images"][0]["latents"])
    assert names is None or set(latents) == names
    assert len(latents) >= 1
    assert {value.shape for value in latents.values()} == {(4, 16, 16)}


def test_another_vae_gives_another_picture_from_the_same_latents(run_cli):
    documents = [
        run_cli("generate", "a cat", *QUICK, *vae, "--json").document["images"][0]
        for vae in ((), ("--vae", "tiny"))
    ]
    assert documents[0]["pixels_sha256"] != documents[1]["pixels_sha256"]


def test_python_gets_results_and_no_files(run_cli, tmp_path):
    results = generate(
        [GenerationRequest(prompt=p, num_inference_steps=1, seed=1) for p in ("a cat", "a dog")]
    )
    assert [result.job.prompt for result in results] == ["a cat", "a dog"]
    assert results[0].pixels.shape == (128, 128, 3)
    assert list(tmp_path.glob("*.png")) == []


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["a cat", "--lora", "none,embedded:fast", "--guidance-every", "2"], "default with this"),
        (["a cat", "--steps", "20,4", "--guidance-every", "2"], "no effect with 4 steps"),
        (["a cat", "--steps", "20,1", "--feature-cache", "2"], "no effect with 1 step:"),
        (["a cat", "a <lora:nowhere:1> dog"], "no LoRA at 'nowhere'"),
        (["a cat", "a (dog", "--prompt-syntax", "compel"], "never closed"),
        (["a cat", "--strength", ".3,.6", "--image", "nowhere.png"], "no file at nowhere.png"),
    ],
)
def test_a_fault_of_a_later_image_is_found_before_the_first(
    run_cli: RunCli, argv: list[str], message: str
) -> None:
    ran = run_cli("generate", *argv, "--size", "64x64")
    assert ran.code in (ExitCode.USAGE, ExitCode.MODEL)
    assert message in ran.stderr
    assert list(Path().iterdir()) == []
