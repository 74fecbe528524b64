"""Define `sdcli latents info`: show the contents of a file of latents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sdcli.commands.latents.options import File
from sdcli.commands.options import flags
from sdcli.latents import MODEL_OUTPUT, NOISE, X0, XT
from sdcli.terminal.printing import print_document

if TYPE_CHECKING:
    from sdcli.storage.latents.latents_file import LatentsFile


_REQUEST_FIELDS = (
    "prompt", "negative_prompt", "model", "refiner", "scheduler", "num_inference_steps",
    "guidance_scale", "width", "height", "seed",
)  # fmt: skip


def info(file: File, json: flags.Json = False) -> None:
    """Show the contents of a file of latents, and how it was made.

    \b
    Examples:
      sdcli latents info outputs/0001-a-cat-7.latents.safetensors
      sdcli latents info outputs/0001-a-cat-7.png --json
    """
    from sdcli.storage.latents.reader import read_latents_file

    latents = read_latents_file(file)
    print_document(_to_document(latents) if json else _to_facts(latents), json)


def _to_document(file: LatentsFile) -> dict[str, Any]:
    return {
        "schema": "sdcli/latents-info/1",
        "path": str(file.path),
        "image": file.image,
        "shape": list(file.shape),
        "dtype": file.dtype,
        "is_whole": file.is_complete,
        "num_steps": file.num_steps,
        "has_noise": NOISE in file.tensors,
        "steps": {kind: file.steps(kind) for kind in (XT, X0, MODEL_OUTPUT)},
        "init_noise_sigma": file.init_noise_sigma,
        "record": dict(file.origin),
    }


def _to_facts(file: LatentsFile) -> dict[str, object]:
    size = "x".join(map(str, file.shape))
    interrupted = "" if file.is_complete else " (interrupted)"
    return {
        "file": file.path,
        "image": file.image,
        "latents": f"{size} {file.dtype}",
        "run": f"{file.num_steps} steps{interrupted}" if file.num_steps else None,
        "noise": "yes" if NOISE in file.tensors else None,
        **_step_facts(file),
        **_origin_facts(file),
    }


def _step_facts(file: LatentsFile) -> dict[str, object]:
    facts = {kind: _format_ranges(file.steps(kind)) for kind in (XT, X0, MODEL_OUTPUT)}
    prediction = file.record.get("scheduler", {}).get("config", {}).get("prediction_type")
    if facts[MODEL_OUTPUT] and prediction:
        facts[MODEL_OUTPUT] += f" ({prediction})"
    return {f"{kind} of steps": steps for kind, steps in facts.items()}


def _origin_facts(file: LatentsFile) -> dict[str, object]:
    facts: dict[str, object] = {
        name: value
        for name, value in file.origin.items()
        if not isinstance(value, dict | list) and name != "schema"
    }
    if "request" in file.record:
        request = file.request.to_dict()
        facts |= {name: request[name] for name in _REQUEST_FIELDS}
        facts["scheduler class"] = file.record.get("scheduler", {}).get("class")
        facts |= {f"{name} version": v for name, v in file.record.get("versions", {}).items()}
    return facts


def _format_ranges(steps: list[int]) -> str:
    """Format rising steps as ranges: [0, 1, 2, 5] as "0-2, 5"."""
    ranges: list[list[int]] = []
    for step in steps:
        if ranges and step == ranges[-1][-1] + 1:
            ranges[-1].append(step)
        else:
            ranges.append([step])
    return ", ".join(f"{r[0]}-{r[-1]}" if len(r) > 1 else str(r[0]) for r in ranges)
