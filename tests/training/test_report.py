"""The figures of the evaluation."""

from __future__ import annotations

import json
from pathlib import Path

from sdcli.training.report import (
    BEGIN,
    END,
    Report,
    format_psnr_by_class,
    format_table,
    update_model_card,
)


def make_report() -> Report:
    report = Report(psnr_by_class={"cat": 30.0, "robot": 24.5}, figures={"psnr_worst": 24.5})
    for is_right in (True, True, False):
        report.count("and", is_right)
    return report


def test_the_table_has_counts_and_figures() -> None:
    lines = format_table(make_report()).splitlines()
    assert "| and | 0.667 (2/3) | ≥ 0.98 |" in lines
    assert "| psnr_worst | 24.500 | ≥ 19 |" in lines
    assert "| single | 0.000 (0/0) | ≥ 0.99 |" in lines


def test_classes_are_sorted_worst_first() -> None:
    assert format_psnr_by_class(make_report()) == "robot 24.5, cat 30.0"


def test_the_document_is_json() -> None:
    document = json.loads(json.dumps(make_report().to_dict()))
    assert document["judged"] == {"and": {"right": 2, "total": 3}}
    assert list(document["psnr_by_class"]) == ["robot", "cat"]


def test_only_the_text_between_the_markers_of_the_card_is_replaced(tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    card.write_text(f"before\n{BEGIN}old{END}\nafter\n")
    update_model_card(make_report(), card)
    first = card.read_text()
    assert first.startswith(f"before\n{BEGIN}\n\n| metric")
    assert first.endswith(f"{END}\nafter\n")
    assert "old" not in first
    update_model_card(make_report(), card)
    assert card.read_text() == first
