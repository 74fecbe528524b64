"""Print a dry run on stdout: one line per job and a summary, or the same as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any, Literal

from sdcli.terminal.json_output import print_json_line
from sdcli.terminal.output import print_lines
from sdcli.terminal.tables import fit_line, format_bytes, print_facts

JOB_SCHEMA = "sdcli/job/1"
PLAN_SCHEMA = "sdcli/plan/1"

Form = Literal["paths", "json", "jsonl"]


def print_dry_run(
    jobs: Iterable[Callable[[], Mapping[str, Any]]],
    totals: Callable[[], Mapping[str, Any]],
    form: Form,
    *,
    verbose: bool = False,
) -> None:
    """Print `totals`, which are known after the last job, and the documents that `jobs` make.

    For people, the totals come first, and the jobs follow only with `verbose`. In the form "jsonl",
    each job is printed as it comes; the others keep what they print in memory.
    """
    if form == "json":
        documents = [job() for job in jobs]
        print_json_line({"schema": PLAN_SCHEMA, **totals(), "jobs": documents})
    elif form == "jsonl":
        for job in jobs:
            print_json_line({"schema": JOB_SCHEMA, **job()})
        print_json_line({"schema": PLAN_SCHEMA, **totals()})
    else:
        lines: list[str] = []
        for job in jobs:
            if verbose:
                lines += fit_line(_format_job(job()), hanging=6)
        _print_totals(totals())
        if verbose:
            print_lines(lines)


def _format_job(job: Mapping[str, Any]) -> str:
    seed = "random" if job["seed"] is None else job["seed"]
    cells = [
        f"{job['index'] + 1:04d}",
        *(["done"] if job["done"] else []),
        f"{job['width']}x{job['height']}",
        f"{job['num_inference_steps']} steps",
        str(job["scheduler"]),
        f"guidance {job['guidance_schedule'] or format(job['guidance_scale'], 'g')}",
        f"seed {seed}",
        job["prompt"],
    ]
    return "  ".join(cells)


def _print_totals(totals: Mapping[str, Any]) -> None:
    loads, models = totals["model_loads"], ", ".join(totals["models"])
    done = f", {totals['done']} done" if totals["done"] else ""
    print_facts(
        {
            "images": f"{totals['images']}{done}",
            "groups": f"{totals['groups']} (images that can share a batch)",
            "model loads": f"{loads} ({models})" if models else str(loads),
            "disk": f"about {format_bytes(totals['disk_bytes'])}",
            "time": _format_time(totals),
        }
    )


def _format_time(totals: Mapping[str, Any]) -> str:
    if not totals["images"]:
        return "none"
    if totals["images"] == totals["done"]:
        return "none, everything is done"
    if totals["seconds"] is None:
        return "unknown; generate the first two to know: --limit 2"
    duration = timedelta(seconds=round(totals["seconds"]))
    untimed = totals["images"] - totals["done"] - totals["timed_images"]
    noun = "image" if untimed == 1 else "images"
    rest = f", plus {untimed} {noun} whose time is unknown" if untimed else ""
    return f"about {duration} according to earlier runs, excluding model loading{rest}"
