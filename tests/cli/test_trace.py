"""`sdcli generate --trace`: the folder says what happened, and the image is the same."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from sdcli.storage.images.codec import read_image_info

PROMPT = "a cat and a guitar on a blue background"
QUICK = ("--steps", "4", "--seed", "7", "--device", "cpu")


@pytest.fixture
def traced(run_cli):
    ran = run_cli("generate", PROMPT, *QUICK, "--trace", "run", "-o", "cat.png")
    assert (ran.code, ran.stdout, ran.stderr) == (0, "cat.png\n", "")
    return json.loads(Path("run/trace.json").read_text())


def test_the_image_and_its_latents_are_those_of_a_plain_run(run_cli, traced):
    run_cli("generate", PROMPT, *QUICK, "--save-latents", "all", "-o", "plain.png")
    plain = read_image_info("plain.png")["pixels_sha256"]
    assert read_image_info("cat.png")["pixels_sha256"] == plain
    assert read_image_info("run/image.png")["pixels_sha256"] == plain
    assert traced["record"]["pixels"]["sha256"] == plain
    expected = load_file("plain.latents.safetensors")
    latents = load_file("run/image.latents.safetensors")
    assert latents.keys() == expected.keys()
    assert all(np.array_equal(latents[name], expected[name]) for name in expected)
    assert {path.name for path in Path("run").iterdir()} == {
        "trace.json", *traced["files"].values()
    }  # fmt: skip
    # The other commands read them.
    assert run_cli("latents", "info", "run/image.latents.safetensors").code == 0
    assert run_cli("replay", "run/image.png", "--check").code == 0


def test_the_measurements_are_those_of_the_tensors(traced):
    tensors = load_file("run/trace.safetensors")
    latents = load_file("run/image.latents.safetensors")
    assert [step["step"] for step in traced["steps"]] == [1, 2, 3, 4]
    assert [step["timestep"] for step in traced["steps"]] == traced["record"]["timesteps"]
    assert [s["sigma"] for s in traced["steps"]] == pytest.approx(traced["record"]["sigmas"][:-1])
    for step in traced["steps"]:
        arrays = {kind: (tensors | latents)[name] for kind, name in step["tensors"].items()}
        assert set(arrays) == {"xt", "x0", "eps", "cond", "uncond", "attention"}
        for kind, norm in step["norms"].items():
            assert norm == pytest.approx(np.linalg.norm(arrays[kind].astype(float)), rel=1e-6)
        c, u, scale = arrays["cond"], arrays["uncond"], step["guidance_scale"]
        assert scale == 3.0
        # As the pipeline combines them.
        assert np.array_equal(arrays["eps"], u + np.float32(scale) * (c - u))
        share = (scale - 1) * np.linalg.norm(c - u) / np.linalg.norm(arrays["eps"])
        assert step["guidance_share"] == pytest.approx(share, rel=1e-5)
        cosine = (c * u).sum() / np.linalg.norm(c) / np.linalg.norm(u)
        assert step["guidance_cosine"] == pytest.approx(cosine, abs=1e-5)
        assert sum(step["attention"].values()) == pytest.approx(1, abs=1e-5)
        # 9 words of one token between the start and the end token.
        assert arrays["attention"].shape == (11, 8, 8)
        words = arrays["attention"][1:10].sum(0).mean()
        assert step["attention"]["words"] == pytest.approx(words, abs=1e-5)
        assert step["seconds"] > 0


def test_tokens_have_the_length_of_their_embeddings(traced):
    embeds = load_file("run/trace.safetensors")["prompt_embeds"]
    assert len(traced["tokens"]) == len(embeds) == 77
    for token, row in zip(traced["tokens"], embeds, strict=True):
        assert token["embedding_norm"] == pytest.approx(np.linalg.norm(row), rel=1e-5)
    assert [token["word"] for token in traced["tokens"][:11]] == [None, *range(9), None]
    assert [word["text"] for word in traced["words"]] == PROMPT.split()
    assert "cat" in traced["tokens"][2]["text"]


def test_the_attention_of_the_steps_is_that_of_the_command(run_cli, traced):
    raw = ("--raw", "maps.safetensors", "-o", "sheet.png", "--words", "cat")
    run_cli("attention", "run/image.png", *raw)
    tensors = load_file("run/trace.safetensors")
    mean = np.mean([tensors[s["tensors"]["attention"]][2] for s in traced["steps"]], axis=0)
    assert np.allclose(load_file("maps.safetensors")["word/1/cat"], mean, atol=1e-6)


def test_a_run_without_guidance_has_no_unconditional_part(run_cli):
    run_cli("generate", PROMPT, *QUICK, "--guidance", "1", "--trace", "run", "-o", "cat.png")
    traced = json.loads(Path("run/trace.json").read_text())
    for step in traced["steps"]:
        assert "uncond" not in step["tensors"]
        assert (step["guidance_scale"], step["guidance_share"]) == (None, None)
    assert "negative_prompt_embeds" not in load_file("run/trace.safetensors")


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    "changes",
    [("--scheduler", "heun"), ("--clip-skip", "1"), ("--size", "72x40")],
    ids=" ".join,
)
def test_other_runs_are_traced(run_cli, changes):
    plain = run_cli("generate", PROMPT, *QUICK, *changes, "-o", "plain.png")
    ran = run_cli("generate", PROMPT, *QUICK, *changes, "--trace", "run", "-o", "cat.png")
    assert (plain.code, ran.code) == (0, 0)
    hashes = [read_image_info(f)["pixels_sha256"] for f in ("plain.png", "run/image.png")]
    assert hashes[0] == hashes[1]
    traced = json.loads(Path("run/trace.json").read_text())
    assert len(traced["steps"]) == len(traced["record"]["timesteps"])


def test_an_existing_trace_is_kept(run_cli, traced):
    before = Path("run/trace.json").read_bytes()
    ran = run_cli("generate", "a dog", *QUICK, "--trace", "run", "-o", "dog.png")
    assert (ran.code, ran.stdout) == (5, "")
    assert "run/trace.json exists" in ran.stderr
    assert Path("run/trace.json").read_bytes() == before
    ran = run_cli("generate", "a dog", *QUICK, "--trace", "run", "-o", "dog.png", "--force")
    assert ran.code == 0
    assert json.loads(Path("run/trace.json").read_text())["record"]["request"]["prompt"] == "a dog"


@pytest.mark.parametrize(
    ("argv", "stdin"),
    [
        (("a cat", "a dog"), ""),
        (("a cat", "--count", "2"), ""),
        (("a cat", "--guidance", "2,3"), ""),
        (("-",), "a cat\n"),
    ],
)
def test_a_trace_is_of_one_image(run_cli, argv, stdin):
    ran = run_cli("generate", *argv, "--trace", "run", stdin=stdin)
    assert (ran.code, ran.stdout) == (2, "")
    assert "a trace is of one image" in ran.stderr
    assert not Path("run").exists()


def test_a_run_that_fails_leaves_no_trace(run_cli):
    ran = run_cli("generate", PROMPT, *QUICK, "--trace", "run", "--clip-skip", "90")
    assert ran.code == 2
    assert not Path("run").exists() or list(Path("run").iterdir()) == []


def test_what_is_kept_in_memory_does_not_grow_with_the_steps():
    """After each step nothing of it is left in the recorder."""
    from sdcli.engine.recorders.trace import TraceRecorder
    from sdcli.request import GenerationRequest
    from tests.attention.test_recorders import record
    from tests.jobs import CPU

    kept: list[int] = []

    class Sink:
        steps = 0

        def begin_trace(self, *args):
            pass

        def write_trace(self, name, array):
            pass

        def add_step(self, step):
            self.steps += 1

    class Counting(TraceRecorder):
        def on_step(self, step, latents):
            super().on_step(step, latents)
            kept.append(len(self._attention._steps))

    sink = Sink()
    wanted = GenerationRequest(prompt=PROMPT, spec=CPU, seed=7, num_inference_steps=6)
    record([wanted], lambda run: Counting(run, sink))
    assert sink.steps == 6
    assert set(kept) == {0}


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("a [cat:dog:0.5]", "has no fixed places of its words"),
        ("a [cat|dog]", "has no fixed places of its words"),
        ("a cat AND a dog", "has no fixed places of its words"),
    ],
)
def test_a_prompt_whose_words_have_no_places_is_refused_by_the_option(run_cli, prompt, words):
    ran = run_cli("generate", prompt, *QUICK, "--trace", "run", "-o", "cat.png")
    assert (ran.code, ran.stdout, "--trace: " in ran.stderr) == (2, "", True)
    assert words in ran.stderr
    ran = run_cli("attention", prompt, *QUICK, "-o", "sheet.png")
    assert (ran.code, ran.stdout, "attention: " in ran.stderr) == (2, "", True)
    assert words in ran.stderr
    plain = ("--prompt-syntax", "plain", "--trace", "run", "-o", "cat.png")
    assert run_cli("generate", prompt, *QUICK, *plain).code == 0


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    ("prompt", "chunks", "words"),
    [
        ("a (cat:1.3) and a [star]", 1, ["cat", "star"]),
        ("a cat, " + "red, " * 40 + "and a star", 2, ["cat", "star"]),
        ("(a cat:0.8) BREAK a star", 2, ["cat", "star"]),
    ],
)
def test_weights_and_chunks_have_words_in_their_places(run_cli, prompt, chunks, words):
    run_cli("generate", prompt, *QUICK, "-o", "plain.png")
    ran = run_cli("generate", prompt, *QUICK, "--trace", "run", "-o", "cat.png")
    assert ran.code == 0, ran.stderr
    hashes = [read_image_info(f)["pixels_sha256"] for f in ("plain.png", "run/image.png")]
    assert hashes[0] == hashes[1]
    trace = json.loads(Path("run/trace.json").read_text())
    tokens = trace["tokens"]
    assert len(tokens) == 77 * chunks
    for word in trace["words"]:
        pieces = [tokens[place] for place in word["tokens"]]
        assert {piece["word"] for piece in pieces} == {word["index"]}
        spelled = "".join(piece["text"] for piece in pieces).removesuffix("</w>")
        assert spelled == word["text"]
    for step in trace["steps"]:
        assert sum(step["attention"].values()) == pytest.approx(1, abs=1e-4)
    assert run_cli("gallery", "run", "--vae", "linear").code == 0
    for more in ((), ("--causal",)):
        argv = ("--words", "cat,star", *more, "--json", "-o", "s.png", "--force")
        ran = run_cli("attention", "run/image.png", *argv)
        assert ran.code == 0, ran.stderr
        assert [word["text"] for word in ran.document["words"]] == words
        assert all(0 < word["share"] < 3 for word in ran.document["words"])


def test_a_weight_of_1_changes_no_map(run_cli):
    documents = [
        run_cli("attention", prompt, *QUICK, "--json", "-o", "s.png", "--force").document
        for prompt in ("a cat and a star", "(a cat:1.0) and a star")
    ]
    plain, weighted = ([(w["text"], w["share"]) for w in d["words"]] for d in documents)
    assert plain == weighted


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    ("negative", "chunks"),
    [("a (dog:1.2)", 1), ("[red|blue] dog", 1), ("dog " * 80, 2), ("red BREAK blue", 2)],
)
def test_the_syntax_of_the_negative_prompt_does_not_matter(run_cli, negative, chunks):
    run_cli("generate", PROMPT, "-n", negative, *QUICK, "-o", "plain.png")
    traced = ("--trace", "run", "-o", "cat.png")
    ran = run_cli("generate", PROMPT, "-n", negative, *QUICK, *traced)
    assert ran.code == 0, ran.stderr
    hashes = [read_image_info(f)["pixels_sha256"] for f in ("plain.png", "run/image.png")]
    assert hashes[0] == hashes[1]
    tokens = json.loads(Path("run/trace.json").read_text())["tokens"]
    assert len(tokens) == 77 * chunks
    # Every chunk begins with the start token.
    starts = [token["position"] for token in tokens if token["id"] == tokens[0]["id"]]
    assert starts == [77 * i for i in range(chunks)]
    for more in ((), ("--causal", "--words", "blue")):
        ran = run_cli("attention", "run/image.png", *more, "--json", "-o", "s.png", "--force")
        assert ran.code == 0, ran.stderr
        # The move of a prediction may be longer than the prediction itself.
        assert all(0 < word["share"] < 2 for word in ran.document["words"])
