"""The command line of the training."""

from __future__ import annotations

import sys

import pytest

from sdcli.training import __main__ as command


def test_every_stage_has_a_runner_and_every_budget_a_stage() -> None:
    assert tuple(command._RUNNERS) == command.STAGES
    assert set(command.SECONDS) <= set(command.STAGES)


def test_an_unknown_stage_is_refused(monkeypatch, tmp_path, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["x", "--folder", str(tmp_path), "unett"])
    with pytest.raises(SystemExit) as caught:
        command.main()
    assert caught.value.code == 2
    assert "unknown stage: unett" in capsys.readouterr().err


def test_the_budgets_are_scaled(monkeypatch, tmp_path) -> None:
    calls = []
    monkeypatch.setitem(command._RUNNERS, "vae", lambda *arguments: calls.append(arguments))
    argv = ["x", "--folder", str(tmp_path / "new"), "--scale", "0.5", "vae"]
    monkeypatch.setattr(sys, "argv", argv)
    command.main()
    assert calls == [(tmp_path / "new", command.SECONDS["vae"] / 2)]
