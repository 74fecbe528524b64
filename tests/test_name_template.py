"""Templates of file names: what they take, what they refuse, and that names are always safe."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdcli.errors import UsageError
from sdcli.name_template import CODE, NameTemplate, safe_name

VALUES = {"sku": "A/1", "seed": 7, "guidance": 2.5, "empty": "", "none": None, "number": "12"}
VALUES["long"] = "a" * 79 + " b"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("{sku}-{seed}", "A-1-7"),
        ("{seed:05}", "00007"),
        ("{number:05d}", "00012"),
        ("{guidance}", "2.5"),
        ("{guidance:.2f}", "2.50"),
        ("x{empty}y{none}", "xy"),
        ("{{{seed}}}", "7"),
        ("  a b  ", "a-b"),
        ("{ Seed }", "7"),
        ("no placeholder", "no-placeholder"),
        ("{empty}", ""),
        ("{seed}-{none:04}", "7"),
        ("{long}-{seed}", "a" * 79 + "-7"),
    ],
)
def test_placeholders_are_filled(text: str, name: str) -> None:
    assert NameTemplate.parse(text).fill(VALUES.__getitem__) == name


@pytest.mark.parametrize(
    "text",
    ["", " ", "{", "}", "{seed", "{}", "{seed!r}", "{seed:999}", "{seed:>9}", "{seed:{sku}}",
     "../{seed}", "a/b", "a\\b", "{seed:05x}"],
)  # fmt: skip
def test_other_templates_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--name-template") as caught:
        NameTemplate.parse(text)
    assert caught.value.code == CODE


def test_a_value_must_fit_its_format() -> None:
    with pytest.raises(UsageError, match=r"does not fit \{sku:05d\}"):
        NameTemplate.parse("{sku:05d}").fill(VALUES.__getitem__)


@given(st.text())
def test_a_name_never_leaves_its_folder(text: str) -> None:
    name = safe_name(text)
    assert not set(name) & set('/\\:*?"<>|\0\n\x1b ')
    assert not name.startswith((".", "-"))
    assert len(name.encode()) <= 150
    assert safe_name(name) == name
