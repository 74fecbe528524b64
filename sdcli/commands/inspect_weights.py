"""Show a file of weights, for `sdcli inspect`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sdcli.checkpoints.file_hashes import known_sha256, sha256
from sdcli.checkpoints.pickles.globals_report import GlobalsReport
from sdcli.checkpoints.weights_report import PartSize, WeightsReport, report_weights
from sdcli.terminal.printing import print_document
from sdcli.terminal.tables import format_bytes, shorten_list

# Smaller files are hashed in a moment; the hashes of larger ones are asked for.
_HASHED_BYTES = 64 << 20
_MAX_VALUE = 100
_LONG_METADATA = ("ss_tag_frequency", "ss_dataset_dirs", "ss_bucket_info", "ss_datasets")
_PREDICTION = {"stated": "", "usual": ", the usual one", "guessed": ", a guess"}


def inspect_weights(path: Path, *, with_hash: bool, json: bool) -> None:
    """Print what a file's header tells."""
    report = report_weights(path)
    size = path.stat().st_size
    is_quick = with_hash or size <= _HASHED_BYTES
    digest = sha256(path) if is_quick else known_sha256(path)
    print_document(
        _to_document(report, size, digest) if json else _to_facts(report, size, digest), json
    )


def _to_document(report: WeightsReport, size: int, digest: str | None) -> dict[str, Any]:
    prediction, names = report.prediction, report.names
    return {
        "schema": "sdcli/weights/1",
        "path": str(report.path),
        "format": report.format,
        "bytes": size,
        "kind": report.kind,
        "family": report.family,
        "task": report.task,
        "supported": report.supported,
        "reasons": list(report.reasons),
        "prediction_type": prediction and prediction.type,
        "prediction_certainty": prediction and prediction.certainty,
        "prediction_reason": prediction and prediction.reason,
        "distillation": report.distillation,
        "parts": [_part_document(part) for part in report.parts],
        "has_vae": _has_part(report, "vae"),
        "has_ema": _has_part(report, "ema"),
        "defaults": dict(report.defaults),
        "addon": dict(report.addon),
        "unused": list(report.unused),
        "sha256": digest,
        "model_hash": digest and digest[:10],
        "metadata": dict(report.metadata),
        "globals": names and {kind: list(getattr(names, kind)) for kind in _GLOBALS},
        "not_tensors": dict(report.dropped),
    }


_GLOBALS = {
    "usual": "imports for tensors",
    "other": "other imports",
    "dangerous": "CAN RUN CODE",
}
"""Kinds of globals -> words for them."""


def _has_part(report: WeightsReport, name: str) -> bool:
    return any(part.name == name for part in report.parts)


def _part_document(part: PartSize) -> dict[str, Any]:
    return {
        "name": part.name,
        "tensors": part.tensors,
        "parameters": part.parameters,
        "bytes": part.bytes,
        "bytes_by_dtype": dict(part.bytes_by_dtype),
    }


def _to_facts(report: WeightsReport, size: int, digest: str | None) -> dict[str, object]:
    prediction = report.prediction
    return {
        "file": f"{report.path} ({report.format}, {format_bytes(size)})",
        "kind": report.kind_name,
        "family": report.family or ("unknown" if report.kind == "model" else None),
        "task": report.task,
        "why": "; ".join(report.reasons),
        "runs": _runs(report),
        "prediction type": prediction
        and f"{prediction.type}{_PREDICTION[prediction.certainty]} ({prediction.reason})",
        "few steps": report.distillation,
        **{name.replace("_", " "): _join(value) for name, value in report.addon.items()},
        **{part.name: _part_line(part) for part in report.parts},
        **_model_facts(report),
        "unused": shorten_list(report.unused),
        "defaults": ", ".join(f"{name} {value}" for name, value in report.defaults.items()),
        "sha256": digest or "not computed; add --hash",
        "model hash": digest and f"{digest[:10]} (A1111)",
        **_pickle_facts(report.names, report.dropped),
        **{f"({name})": _value(name, value) for name, value in report.metadata.items()},
    }


def _runs(report: WeightsReport) -> str | None:
    if report.kind != "model" or (report.supported and report.task != "refinement"):
        return None
    if report.supported:
        return "with --refiner, after a base model"
    return "no, not supported" if report.family else "only with --model-config FOLDER"


def _model_facts(report: WeightsReport) -> dict[str, object]:
    if report.kind != "model":
        return {}
    return {
        "VAE inside": "yes" if _has_part(report, "vae") else "no: add --vae",
        "EMA weights": "yes, besides the plain ones" if _has_part(report, "ema") else "no",
    }


def _part_line(part: PartSize) -> str:
    dtypes = ", ".join(f"{name} {format_bytes(n)}" for name, n in part.bytes_by_dtype.items())
    count = f"{part.parameters / 1e6:.2f} M" if part.parameters >= 1e5 else part.parameters
    tensors = f"{part.tensors} tensor{'' if part.tensors == 1 else 's'}"
    return f"{count} parameters in {tensors}, {dtypes}"


def _pickle_facts(names: GlobalsReport | None, dropped: Mapping[str, str]) -> dict[str, object]:
    if names is None:
        return {}
    facts: dict[str, object] = {
        words: shorten_list(getattr(names, kind)) for kind, words in _GLOBALS.items()
    }
    left_out = shorten_list([f"{name} ({kind})" for name, kind in dropped.items()])
    note = "nothing was run; this list does not mean that other programs can load the file safely"
    return {**facts, "not tensors": left_out, "note": note}


def _value(name: str, value: str) -> str:
    if name in _LONG_METADATA or len(value) > _MAX_VALUE:
        return f"{value[:_MAX_VALUE]}… ({len(value)} characters; --json has all)"
    return value


def _join(value: object) -> object:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(f"{item:g}" if isinstance(item, float) else str(item) for item in value)
    return value
