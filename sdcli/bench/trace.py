"""Time a traced run against the same run without a trace, and measure its memory."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, Final

from sdcli.bench.measure import BenchCommand, Timing, measure, python_command
from sdcli.bench.peak_memory import PEAK_GB
from sdcli.bench.scenarios import PROMPT, SEED, Document, to_document

STEPS: Final = (20, 100)
"""Steps of the runs that are compared, and of a longer one, whose memory should be the same."""

RUN: Final = (
    PEAK_GB
    + """
import json, sys, time

from sdcli.attention import AttentionSelection
from sdcli.pipeline_spec import PipelineSpec
from sdcli.planning.prompt_syntax import WordPlaces
from sdcli.prompts.sources import IterableSource
from sdcli.request import GenerationRequest
from sdcli.runner.loop import iter_results
from sdcli.runner.options import RunOptions
from sdcli.runner.trace import opened_trace
from sdcli.runner.word_recorder import WordRecorder
from sdcli.storage.metadata.record import pixels_sha256

args = json.loads(sys.argv[1])

def record(run):
    from sdcli.engine.recorders.attention import AttentionRecorder

    return AttentionRecorder(run, AttentionSelection())

def run(steps):
    spec = PipelineSpec(device="cpu", dtype="float32")
    request = GenerationRequest(
        prompt=args["prompt"], seed=args["seed"], num_inference_steps=steps, spec=spec
    )
    options = RunOptions(out="", expected_images=1, trace=args["trace"], force=True)
    with opened_trace(options) as trace:
        observed = {"sinks": trace.sinks, "recorders": list(trace.recorders)}
        if args["attention"]:
            observed["recorders"].append(WordRecorder(WordPlaces("attention"), record))
        [result] = iter_results(IterableSource([request]), **observed)
        if trace.writer:
            trace.writer.finish(result)
    return pixels_sha256(result.pixels)

run(2)  # loads the model
started = time.process_time()
digest = run(args["steps"])
print(json.dumps({
    "cpu": time.process_time() - started,
    "peak_gb": peak_gb(),
    "pixels_sha256": digest,
}))
"""
)
"""Generate an image, with a trace or without, and print the CPU seconds after loading."""


def time_trace(rounds: int) -> Document:
    """Time a run of the embedded model with and without a trace.

    The CPU seconds, which hardly depend on what else the machine does, are those of the run without
    loading the model.
    """
    with tempfile.TemporaryDirectory() as folder:
        return describe_trace(measure(trace_commands(folder), rounds=rounds))


def trace_commands(folder: str) -> list[BenchCommand]:
    """The runs to time: without a trace, with one, a longer one, and one with attention only."""
    few, many = STEPS
    return [
        _command(f"{few} steps", few, None),
        _command(f"{few} steps --trace", few, f"{folder}/few"),
        _command(f"{many} steps --trace", many, f"{folder}/many"),
        _command(f"{few} steps, attention", few, None, attention=True),
    ]


def _command(name: str, steps: int, trace: str | None, *, attention: bool = False) -> BenchCommand:
    args = {"prompt": PROMPT, "seed": SEED, "steps": steps, "trace": trace}
    args["attention"] = attention
    return BenchCommand(name=name, argv=python_command("-c", RUN, json.dumps(args)))


def describe_trace(timings: Sequence[Timing]) -> Document:
    """Return the document of the timings of the four runs."""
    runs = [[json.loads(text) for text in timing.stdout] for timing in timings]
    phases = {
        timing.name: {key: round(median(run[key] for run in own), 4) for key in ("cpu", "peak_gb")}
        for timing, own in zip(timings, runs, strict=True)
    }
    plain, traced, _, attention = runs
    return to_document("trace", timings, phases) | {
        "cpu_ratio": _cpu_ratio(traced, plain),
        "attention_ratio": _cpu_ratio(attention, plain),
        "same_pixels": len({run["pixels_sha256"] for run in (*plain, *traced, *attention)}) == 1,
    }


def _cpu_ratio(runs: Sequence[Mapping[str, Any]], plain: Sequence[Mapping[str, Any]]) -> float:
    """Return the median of the ratios of each round."""
    pairs = zip(runs, plain, strict=True)
    return round(median(float(one["cpu"]) / float(base["cpu"]) for one, base in pairs), 3)
