"""`sdcli latents info`: what a file of latents says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sdcli.commands.latents.options import File
from sdcli.commands.options import flags
from sdcli.latents import MODEL_OUTPUT, NOISE, X0, XT
from sdcli.terminal.printing import print_document

if TYPE_CHECKING:
    from sdcli.storage.latents.reader import LatentsFile


_ASKED = (
    "prompt", "negative_prompt", "model", "scheduler", "num_inference_steps", "guidance_scale",
    "width", "height", "seed",
)  # fmt: skip


def info(file: File, json: flags.Json = False) -> None:
    """Show what a file of latents holds, and what made it.

    \b
    Examples:
      sdcli latents info outputs/0001-a-cat-7.latents.safetensors
      sdcli latents info outputs/0001-a-cat-7.png --json
    """
    from sdcli.storage.latents.reader import read_latents_file

    dump = read_latents_file(file)
    print_document(_document(dump) if json else _facts(dump), json)


def _document(dump: LatentsFile) -> dict[str, Any]:
    return {
        "schema": "sdcli/latents-info/1",
        "path": str(dump.path),
        "image": dump.image,
        "shape": list(dump.shape),
        "dtype": dump.dtype,
        "is_whole": dump.is_complete,
        "num_steps": dump.num_steps,
        "has_noise": NOISE in dump.tensors,
        "steps": {kind: dump.steps(kind) for kind in (XT, X0, MODEL_OUTPUT)},
        "init_noise_sigma": dump.init_noise_sigma,
        "record": dict(dump.record),
    }


def _facts(dump: LatentsFile) -> dict[str, object]:
    kinds = {kind: _ranges(dump.steps(kind)) for kind in (XT, X0, MODEL_OUTPUT)}
    prediction = dump.record.get("scheduler", {}).get("config", {}).get("prediction_type")
    if kinds[MODEL_OUTPUT] and prediction:
        kinds[MODEL_OUTPUT] += f" ({prediction})"
    made: dict[str, object] = {
        name: value
        for name, value in dump.record.items()
        if not isinstance(value, dict | list) and name != "schema"
    }
    if "request" in dump.record:
        request = dump.request
        made |= {name: request.to_dict()[name] for name in _ASKED}
        made["scheduler class"] = dump.record["scheduler"].get("class")
        made |= {f"{name} version": v for name, v in dump.record.get("versions", {}).items()}
    size = "x".join(map(str, dump.shape))
    unfinished = "" if dump.is_complete else " (interrupted)"
    return {
        "file": dump.path,
        "image": dump.image,
        "latents": f"{size} {dump.dtype}",
        "run": f"{dump.num_steps} steps{unfinished}" if dump.num_steps else None,
        "noise": "yes" if NOISE in dump.tensors else None,
        **{f"{kind} of steps": steps for kind, steps in kinds.items()},
        **made,
    }


def _ranges(steps: list[int]) -> str:
    """[0, 1, 2, 5] as "0-2, 5"."""
    runs: list[list[int]] = []
    for step in steps:
        if runs and step == runs[-1][-1] + 1:
            runs[-1].append(step)
        else:
            runs.append([step])
    return ", ".join(f"{r[0]}-{r[-1]}" if len(r) > 1 else str(r[0]) for r in runs)
