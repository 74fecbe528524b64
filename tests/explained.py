"""What an explanation should say, computed from the files of its trace alone."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file

FUNCTION_WORDS = {"a", "the", "and", "on", "of", "in", "with"}
DESCRIBING = {"red", "blue", "green", "small", "two"}


class TracedRun:
    """The files of a trace, and what follows from them."""

    def __init__(self, folder: Path) -> None:
        self.manifest: dict[str, Any] = json.loads((folder / "trace.json").read_text())
        latents_file = folder / "image.latents.safetensors"
        latents, tensors = load_file(latents_file), load_file(folder / "trace.safetensors")
        self.arrays = {k: v.astype(float) for k, v in {**latents, **tensors}.items()}
        with safe_open(latents_file, "numpy") as file:
            self.init_sigma = float(file.metadata().get("init_noise_sigma", 1))
        self.record, self.steps = self.manifest["record"], self.manifest["steps"]
        self.count = len(self.steps)
        self.noise, self.end = self.arrays["noise"], self.arrays["final"]
        self.words = self.manifest["words"]
        self.width, self.height = (self.record["pixels"][k] for k in ("width", "height"))
        maps = [self.arrays[f"attention_{i + 1:04d}"] for i in range(self.count)]
        self.attention = sum(maps) / self.count

    def named(self, kind: str) -> list[Any]:
        return [self.arrays[f"{kind}_{i + 1:04d}"] for i in range(self.count)]

    def points(self) -> list[Any]:
        """x_t as of schedulers with variance 1."""
        later = [
            x / (math.sqrt(1 + self.record["sigmas"][i] ** 2) if self.init_sigma > 1 else 1)
            for i, x in enumerate(self.named("xt")[:-1] if self._ends_in_xt() else self._xt(), 1)
        ]
        return [self.noise, *later, self.end]

    def _ends_in_xt(self) -> bool:
        return f"xt_{self.count:04d}" in self.arrays

    def _xt(self) -> list[Any]:
        return [self.arrays[f"xt_{i:04d}"] for i in range(1, self.count)]

    def things(self) -> list[dict[str, Any]]:
        content = self.content()
        nouns = [w for w in content if w["text"].lower() not in DESCRIBING]
        return nouns or content or self.words

    def content(self) -> list[dict[str, Any]]:
        return [
            w
            for w in self.words
            if any(map(str.isalpha, w["text"])) and w["text"].lower() not in FUNCTION_WORDS
        ]

    def raw(self, word: dict[str, Any]) -> Any:
        return self.attention[word["tokens"]].sum(0)

    def relative(self, word: dict[str, Any]) -> Any:
        own = self.raw(word) / self.raw(word).mean()
        content = [self.raw(w) / self.raw(w).mean() for w in self.content()]
        shared = np.mean(content, axis=0) if len(content) > 1 else 1
        return np.clip(own - shared, 0, None)


def angle_cosine(a: Any, b: Any) -> float:
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))


def similarity(a: Any, b: Any, place: Any = slice(None)) -> float:
    a, b = (x - x.mean(axis=(1, 2), keepdims=True) for x in (a, b))
    return angle_cosine(a[:, place], b[:, place])


def far(a: Any, b: Any) -> float:
    return float(np.sqrt(((np.asarray(a, float) - b) ** 2).sum()))


def expected_noise(run: TracedRun) -> dict[str, Any]:
    size = run.noise.size
    return {
        "numbers": size,
        "seed": run.record["request"]["seed"],
        "noise_length": far(run.noise, 0),
        "end_length": far(run.end, 0),
        "noise_cosine": angle_cosine(run.noise, run.end),
        "shell": math.sqrt(size),
    }


def expected_pieces(run: TracedRun) -> dict[str, Any]:
    marks = [w for w in run.words if not any(c.isalnum() for c in w["text"])]
    pieces = sum(len(w["tokens"]) for w in run.words)
    longest = max(run.words, key=lambda w: len(w["tokens"]))
    chunks = len(run.manifest["tokens"]) // 77
    split = {"split_word": longest["text"], "split_pieces": len(longest["tokens"])}
    return {
        "words": len(run.words) - len(marks),
        "pieces": pieces,
        **({"marks": len(marks)} if marks else {}),
        **(split if len(longest["tokens"]) > 1 else {}),
        **({"chunks": chunks} if chunks > 1 else {}),
        "padding": len(run.manifest["tokens"]) - pieces - 2 * chunks,
        "positions": len(run.manifest["tokens"]),
    }


def expected_vectors(run: TracedRun, other: TracedRun, replacement: str) -> dict[str, Any]:
    """`other` is the trace of the prompt with the word replaced."""
    word = run.things()[0]
    own, changed = run.arrays["prompt_embeds"], other.arrays["prompt_embeds"]
    moves = [far(a, b) / far(a, 0) for a, b in zip(own, changed, strict=True)]
    first, last = word["tokens"][0], word["tokens"][-1]
    count = sum(len(w["tokens"]) for w in run.words)
    after = moves[last + 1 : count + 1]
    same = count == sum(len(w["tokens"]) for w in other.words)
    return {
        "width": own.shape[1],
        "vectors": len(own),
        "swapped": word["text"],
        "replacement": replacement,
        "own_move": moves[first],
        "before_move": max(moves[:first]),
        **({"after_move": mean(after)} if after and same else {}),
    }


def without_words(run: TracedRun) -> Any:
    """x_0 of the unconditional output at step 1, from the definition of the prediction."""
    sigma, output = run.steps[0]["sigma"], run.arrays["uncond_0001"]
    if sigma is None:
        return -output
    signal = 1 / math.sqrt(1 + sigma**2)
    # The input follows from the guided output and its x_0.
    guided, x0 = run.arrays["eps_0001"], run.arrays["x0_0001"]
    given = (x0 + sigma * signal * guided) / signal
    assert run.record["scheduler"]["config"]["prediction_type"] == "v_prediction"
    return signal * given - sigma * signal * output


def expected_first_look(run: TracedRun) -> dict[str, Any]:
    x0 = run.arrays["x0_0001"]
    facts: dict[str, Any] = {
        "first_similarity": similarity(x0, run.end),
        "perfect": 1,
        "unrelated": 0,
    }
    if "uncond_0001" not in run.arrays:
        return facts
    unworded = without_words(run)
    within = [np.std(a - a.mean(axis=(1, 2), keepdims=True)) for a in (unworded, run.end)]
    facts["unworded_similarity"] = similarity(unworded, run.end)
    facts["unworded_contrast"] = within[0] / within[1]
    ratio = far(x0, 0) / far(run.end, 0)
    return {**facts, **({"first_length": ratio} if ratio >= 1.05 else {})}


def expected_attention(run: TracedRun) -> dict[str, Any]:
    shares = {g: mean(s["attention"][g] for s in run.steps) for g in run.steps[0]["attention"]}
    most = max(run.things(), key=lambda w: run.raw(w).mean())
    return {
        "words_share": shares["words"],
        "strongest": most["text"],
        "strongest_share": run.raw(most).mean(),
        "padding_share": shares["padding"],
        "start_share": shares["start"],
        "end_share": shares["end"],
    }


def expected_influence(run: TracedRun, causal: list[dict[str, Any]]) -> dict[str, Any]:
    """`causal` are the words of `sdcli attention --causal --json`."""
    most = max(causal, key=lambda w: w["share"])
    least = min(causal, key=lambda w: w["share"])
    [word] = [w for w in run.words if w["index"] == most["index"]]
    return {
        "most": most["text"],
        "most_share": most["share"],
        **({"least": least["text"], "least_share": least["share"]} if len(causal) > 1 else {}),
        "most_attention": run.raw(word).mean(),
    }


def expected_walk(run: TracedRun) -> dict[str, Any]:
    points = run.points()
    lengths = [far(a, b) for a, b in pairwise(points)]
    straight = far(run.noise, run.end)
    turn = angle_cosine(run.arrays["x0_0001"] - run.noise, run.end - run.noise)
    if run.count == 1:
        return {"steps": 1, "start_distance": straight}
    first_sigma = run.steps[0]["sigma"]
    facts = {
        "steps": run.count,
        **({} if first_sigma is None else {"first_sigma": first_sigma}),
        "last_sigma": run.steps[-1]["sigma"],
        "start_distance": straight,
        "last_distance": far(points[-2], run.end),
        "path": sum(lengths),
        "bend": sum(lengths) / straight,
        "turn": math.degrees(math.acos(turn)),
    }
    if run.count > 2:
        longest = int(np.argmax(lengths))
        facts["median_step"] = median(lengths)
        facts |= {"longest_number": longest + 1, "longest_step": lengths[longest]}
    return facts


def arrival(run: TracedRun, place: Any = slice(None)) -> int | None:
    """The first step from which all predictions are similar to the end."""
    similar = [similarity(x0, run.end, place) >= 0.9 for x0 in run.named("x0")]
    return next((i + 1 for i in range(run.count) if all(similar[i:])), None)


def place(run: TracedRun, word: dict[str, Any]) -> Any:
    heat = run.relative(word)
    factor = [run.end.shape[1 + axis] / heat.shape[axis] for axis in (0, 1)]
    rows = [int(i / factor[0]) for i in range(run.end.shape[1])]
    columns = [int(i / factor[1]) for i in range(run.end.shape[2])]
    larger = heat[rows][:, columns]
    return larger >= larger.max() / 2


def expected_arrival(run: TracedRun) -> dict[str, Any]:
    step = arrival(run)
    facts = {"arrival": step, "steps": run.count} if step else {"steps": run.count}
    return {"threshold": 0.9, **facts}


def expected_guidance(run: TracedRun) -> dict[str, Any]:
    guided = [i + 1 for i in range(run.count) if f"uncond_{i + 1:04d}" in run.arrays]
    if not guided:
        return {"least": 1}
    scale = run.record["request"]["guidance_scale"]
    pairs = [(run.arrays[f"cond_{i:04d}"], run.arrays[f"uncond_{i:04d}"]) for i in guided]
    shares = [(scale - 1) * far(c, u) / far(u + scale * (c - u), 0) for c, u in pairs]
    lowest, last = int(np.argmin(shares)), len(guided) - 1
    facts = {
        "scale": scale,
        "first_share": shares[0],
        "first_agreement": angle_cosine(*pairs[0]),
    }
    if last == 0:
        return facts | ({"first_guided": guided[0]} if run.count > 1 else {})
    least = {"lowest_step": guided[lowest], "lowest_share": shares[lowest]}
    return {
        **facts,
        **(least if lowest not in (0, last) else {}),
        "last_share": shares[-1],
        "first_guided": guided[0],
        "last_guided": guided[-1],
        "last_agreement": angle_cosine(*pairs[-1]),
    }


def expected_decoding(run: TracedRun) -> dict[str, Any]:
    values = 3 * run.width * run.height
    return {
        "numbers": run.end.size,
        "width": run.width,
        "height": run.height,
        "values": values,
        "factor": values / run.end.size,
    }


def expected_chance(
    run: TracedRun, other_noise: Any, other_words: Any, replacement: str
) -> dict[str, Any]:
    """`other_noise` and `other_words` are final latents of plain runs."""
    return {
        "other_seed": run.record["request"]["seed"] + 1,
        "noise_distance": far(other_noise, run.end),
        "swapped": run.things()[0]["text"],
        "replacement": replacement,
        "words_distance": far(other_words, run.end),
    }
