"""Errors: exit codes, summaries of several, and suggestions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdcli import errors
from sdcli.errors import ExitCode, SdcliError, UsageError, UsageErrors, did_you_mean


def subclasses(cls: type[SdcliError]) -> list[type[SdcliError]]:
    return [cls, *(each for child in cls.__subclasses__() for each in subclasses(child))]


def test_every_kind_of_error_has_an_exit_code_of_its_own() -> None:
    # A kind that another one refines shares its exit code.
    kinds = SdcliError.__subclasses__()
    codes = [kind.exit_code for kind in kinds]
    assert len(set(codes)) == len(codes)
    assert ExitCode.OK not in codes
    assert {kind.__module__ for kind in kinds} == {errors.__name__}
    for kind in subclasses(SdcliError)[1:]:
        assert kind.exit_code in codes


def test_an_error_is_its_message() -> None:
    error = UsageError("no such thing", code="usage.thing", hint="give another")
    assert (str(error), error.code, error.hint) == ("no such thing", "usage.thing", "give another")


@pytest.mark.parametrize(("total", "count"), [(None, 2), (9, 9)])
def test_several_errors_have_a_summary(total: int | None, count: int) -> None:
    several = UsageErrors([UsageError(f"e{i}", code=f"usage.{i}") for i in (1, 2)], total)
    assert str(several) == f"{count} errors, the first: e1"
    assert several.code == "usage.1"
    assert str(several.summary()) == f"{count} errors, nothing was generated"
    assert several.summary().hint == "fix them and run again"


def test_one_error_of_several_is_itself() -> None:
    assert str(UsageErrors([UsageError("e1", code="usage.1")])) == "e1"


@given(st.lists(st.text("abc", min_size=3, max_size=6), min_size=1), st.data())
def test_a_known_name_is_its_own_suggestion(known: list[str], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(known))
    assert did_you_mean(name.upper(), known) == f"did you mean {name}?"


def test_a_name_that_resembles_none_has_no_suggestion() -> None:
    assert did_you_mean("xyz", ["euler", "ddim"]) is None
    assert did_you_mean("xyz", []) is None
