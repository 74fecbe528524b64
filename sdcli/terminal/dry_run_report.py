"""A plan on stdout: a line a job and the sums below, or the same as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any, Literal

from sdcli.storage import files
from sdcli.storage.text import one_line
from sdcli.terminal.json_output import print_json_line
from sdcli.terminal.tables import print_facts

JOB_SCHEMA = "sdcli/job/1"
PLAN_SCHEMA = "sdcli/plan/1"

Form = Literal["paths", "json", "jsonl"]


def print_dry_run(
    jobs: Iterable[Mapping[str, Any]], totals: Callable[[], Mapping[str, Any]], form: Form
) -> None:
    """Print the jobs as they come, `totals` after the last one. Only one document holds them."""
    if form == "json":
        listed = list(jobs)
        print_json_line({"schema": PLAN_SCHEMA, "jobs": listed, **totals()})
    elif form == "jsonl":
        for job in jobs:
            print_json_line({"schema": JOB_SCHEMA, **job})
        print_json_line({"schema": PLAN_SCHEMA, **totals()})
    else:
        with files.os_errors_as_output_errors("stdout"):
            for job in jobs:
                print(_line(job))
        _sums(totals())


def _line(job: Mapping[str, Any]) -> str:
    seed = "drawn" if job["seed"] is None else job["seed"]
    words = [
        f"{job['index'] + 1:04d}",
        *(["done"] if job["done"] else []),
        f"{job['width']}x{job['height']}",
        f"{job['num_inference_steps']} steps",
        str(job["scheduler"]),
        f"guidance {job['guidance_scale']:g}",
        f"seed {seed}",
        one_line(job["prompt"]),
    ]
    return "  ".join(words)


def _sums(totals: Mapping[str, Any]) -> None:
    loads, models = totals["model_loads"], ", ".join(totals["models"])
    print_facts(
        {
            "images": str(totals["images"])
            + (f", {totals['done']} done" if totals["done"] else ""),
            "groups": f"{totals['groups']} (images that can share a batch)",
            "model loads": f"{loads} ({models})" if models else str(loads),
            "disk": f"about {_size(totals['disk_bytes'])}",
            "time": _time(totals),
        }
    )


def _time(totals: Mapping[str, Any]) -> str:
    if totals["images"] == totals["done"]:
        return "none: all is done"
    if totals["seconds"] is None:
        return "not known: no image like these was made in this folder before"
    span = timedelta(seconds=round(totals["seconds"]))
    missing = totals["images"] - totals["done"] - totals["timed_images"]
    rest = f", and {missing} images of which it is not known" if missing else ""
    return f"about {span} by what is in the journal, loading apart{rest}"


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
