"""`sdcli doctor`: check the installation."""

from __future__ import annotations

import os
import platform
from typing import Any

import typer

from sdcli.checkpoints.model_defaults import EMBEDDED_FOLDER, read_defaults
from sdcli.commands.inspect import defaults_document
from sdcli.commands.options import flags
from sdcli.errors import SdcliError
from sdcli.fields.execution import RUNGS
from sdcli.inputs.paths import hub_cache
from sdcli.planning.offload import GIBIBYTE, SD_15, SDXL, ImageSize, choose_rung
from sdcli.terminal.printing import print_document


def doctor(context: typer.Context, json: flags.Json = False) -> None:
    """Check the installation and show which device and settings would be used.

    \b
    Examples:
      sdcli doctor
      sdcli doctor --json
    """
    document = _diagnose() | {"settings": _settings(context)}
    print_document(document if json else _facts(document), json)


def _diagnose() -> dict[str, Any]:
    from sdcli import engine
    from sdcli.versions import library_versions

    devices = engine.list_devices()
    chosen = next(device for device in devices if device.is_default)
    return {
        "schema": "sdcli/doctor/1",
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": library_versions(),
        "optional": {name: {"version": _version(name), "for": use} for name, use in _OPTIONAL},
        "devices": [{"name": d.name, "description": d.description} for d in devices],
        "cache": _cache(),
        "embedded": _embedded(),
        "chosen": {
            "device": chosen.name,
            "device_why": "the fastest device that accelerate finds",
            **_chosen_dtype(chosen.name),
            **_chosen_offload(chosen.free_bytes),
            **_thread_waiting(engine.thread_waiting_reason),
        },
    }


_OPTIONAL = (
    ("scipy", "LMS, and Beta schedules"),
    ("torchsde", "DPM++ SDE"),
    ("chafa.py", "--preview as pixels in kitty, iTerm2 and sixel terminals"),
    ("av", "MP4 of latents animate"),
    ("ray", "batch --ray"),
    ("opencv-python-headless", "--control-preprocess canny"),
    ("openvino", "--backend openvino"),
    ("peft", "train-lora"),
    ("ImageHash", "images that look alike, in score and pick"),
)


def _version(package: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _settings(context: typer.Context) -> list[dict[str, object]]:
    """Defaults set by files and environment variables, in rising order of precedence."""
    return [
        {"option": s.option, "value": s.value, "command": s.command, "source": s.source}
        for s in context.find_root().obj.settings
    ]


def _chosen_dtype(device: str) -> dict[str, str]:
    from sdcli.engine import has_fast_bfloat16

    if device != "cpu":
        return {"dtype": "float16", "dtype_why": "half the memory and faster on this device"}
    large = (
        "and bfloat16 for large models, as this CPU has instructions for it, with the decoder of "
        "the VAE in channels-last order, which is faster"
    )
    if not has_fast_bfloat16():
        large = "also for large models, as this CPU has no instructions for bfloat16"
    return {"dtype": "float32", "dtype_why": f"exact; {large}"}


def _chosen_offload(free: int | None) -> dict[str, object]:
    """The rungs that models of the two usual sizes get on a GPU, nothing without one."""
    if free is None:
        return {}
    rungs = {
        f"{name}, {side}x{side}": choose_rung(size, ImageSize(width=side, height=side), free, RUNGS)
        for name, size, side in (("SD 1.5", SD_15, 512), ("SDXL", SDXL, 1024))
    }
    return {"vram_free": free, "offload": rungs}


def _thread_waiting(reason: str | None) -> dict[str, str]:
    if reason:
        return {"thread_waiting": "passive", "thread_waiting_why": reason}
    if policy := os.environ.get("OMP_WAIT_POLICY"):
        return {"thread_waiting": policy.lower(), "thread_waiting_why": "OMP_WAIT_POLICY is set"}
    why = "no other processes are running, and all cores may be used"
    return {"thread_waiting": "active", "thread_waiting_why": why}


def _cache() -> dict[str, object]:
    """The folder of the Hugging Face cache, and the models in it."""
    folder = hub_cache()
    # Unlike the method of a Path, it never raises, for example for a folder that can't be read.
    folders = folder.glob("models--*") if os.path.isdir(folder) else ()
    models = sorted(p.name[8:].replace("--", "/") for p in folders)
    return {"path": str(folder), "models": models}


def _embedded() -> dict[str, object]:
    try:
        defaults = defaults_document(read_defaults(EMBEDDED_FOLDER))
    except SdcliError as error:
        return {"path": str(EMBEDDED_FOLDER), "present": False, "why": error.message}
    return {"path": str(EMBEDDED_FOLDER), "present": True, "defaults": defaults}


def _setting_facts(settings: list[dict[str, object]]) -> dict[str, object]:
    return {
        f"setting {s['option']}": f"{s['value']} for {s['command'] or 'all'}, from {s['source']}"
        for s in settings
    }


def _offload_facts(chosen: dict[str, Any]) -> dict[str, object]:
    if "offload" not in chosen:
        return {}
    rungs = "; ".join(f"{rung} for {model}" for model, rung in chosen["offload"].items())
    return {"offload": f"{rungs} (of {chosen['vram_free'] / GIBIBYTE:.1f} GiB that are free)"}


def _facts(document: dict[str, Any]) -> dict[str, object]:
    embedded, chosen, cache = document["embedded"], document["chosen"], document["cache"]
    state = "complete" if embedded["present"] else "missing"
    return {
        "python": f"{document['python']} on {document['platform']}",
        **document["versions"],
        **{
            name: found["version"] or f"not installed (pip install {name}), for {found['for']}"
            for name, found in document["optional"].items()
        },
        **{d["name"]: d["description"] for d in document["devices"]},
        "cache": f"{cache['path']} ({', '.join(cache['models']) or 'no models'})",
        "embedded model": f"{embedded['path']} ({state})",
        **{f"  {name}": value for name, value in embedded.get("defaults", {}).items()},
        "  why": embedded.get("why"),
        **_setting_facts(document["settings"]),
        "device": f"{chosen['device']}: {chosen['device_why']}",
        "dtype": f"{chosen['dtype']}: {chosen['dtype_why']}",
        **_offload_facts(chosen),
        "thread waiting": f"{chosen['thread_waiting']}: {chosen['thread_waiting_why']}",
    }
