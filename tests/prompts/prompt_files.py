"""Write and read prompt files in every format, for tests."""

from __future__ import annotations

import csv
import io
import json

import yaml
from hypothesis import strategies as st

from sdcli.errors import UsageError, UsageErrors
from sdcli.inputs.text_decoding import decode_lines
from sdcli.prompts.entry_expander import EntryExpander
from sdcli.prompts.expansion import RequestTemplate
from sdcli.prompts.formats import get_reader

FORMATS = ["txt", "csv", "tsv", "jsonl", "json", "yaml", "toml"]

_PRINTABLE = st.characters(
    exclude_categories=["Cs", "Cc", "Zl", "Zp"], exclude_characters="\ufeff\x85"
)


def texts(alphabet=_PRINTABLE):
    return st.text(alphabet, min_size=1, max_size=20).map(str.strip).filter(bool)


def rows_of(texts):
    """A strategy of the fields of a request."""
    return st.fixed_dictionaries(
        {"prompt": texts},
        optional={
            "negative_prompt": texts,
            "num_inference_steps": st.integers(1, 1000),
            "guidance_scale": st.floats(0, 1000).map(lambda x: round(x, 4)),
            "seed": st.integers(0, 2**62),
            "width": st.integers(8, 16384),
            "offline": st.booleans(),
        },
    )


rows = rows_of(texts())
multiline_rows = rows_of(texts(st.one_of(_PRINTABLE, st.sampled_from("\n\t"))))


def _quoted(value):
    text = str(value)
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _write_txt(rows):
    return "".join(" ".join(f"--{k} {_quoted(v)}" for k, v in row.items()) + "\n" for row in rows)


def _write_columns(rows, delimiter):
    out = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row)) or ["prompt"]
    writer = csv.DictWriter(out, names, delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _write_toml(rows):
    def table(row):
        return "".join(f"{k} = {json.dumps(v, ensure_ascii=False)}\n" for k, v in row.items())

    return "".join(f"[[requests]]\n{table(row)}" for row in rows)


class _Dumper(yaml.SafeDumper):
    """PyYAML follows YAML 1.1, and leaves out quotes that YAML 1.2 needs: 1e5 is a number."""


def _represent_text(dumper, text):
    style = '"' if text[:1] in "+-.0123456789" else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _represent_text)


WRITERS = {
    "txt": _write_txt,
    "csv": lambda rows: _write_columns(rows, ","),
    "tsv": lambda rows: _write_columns(rows, "\t"),
    "jsonl": lambda rows: "".join(json.dumps(row) + "\n" for row in rows),
    "json": lambda rows: json.dumps(rows, indent=1),
    "yaml": lambda rows: yaml.dump(rows, Dumper=_Dumper, allow_unicode=True),
    "toml": _write_toml,
}


def lines_of(text):
    return [line + "\n" for line in text.split("\n")]


def lines_of_bytes(data):
    return list(decode_lines([data]))


def entries_of(name, lines):
    """The entries of a file's lines, and the errors of its reader."""
    found = [entry for entry in get_reader(name)(lines, f"f.{name}") if entry]
    errors = [entry for entry in found if isinstance(entry, UsageError)]
    return [entry for entry in found if not isinstance(entry, UsageError)], errors


def read_lines(name, lines, template=None):
    """The requests of a file's lines, and the text of its errors."""
    expander, requests, errors = EntryExpander(template or RequestTemplate()), [], []
    for entry in get_reader(name)(lines, f"f.{name}"):
        try:
            if isinstance(entry, UsageError):
                raise entry
            if entry:
                expander.advance(entry)
                requests += expander.expand(entry)
        except UsageErrors as error:
            errors += [str(one) for one in error.several]
        except UsageError as error:
            errors.append(str(error))
    return requests, errors


def read_text(name, text, template=None):
    return read_lines(name, lines_of(text), template)


def assert_errors(name, text, starts):
    """The file has exactly these errors, given by the beginnings of their text."""
    errors = read_text(name, text)[1]
    assert len(errors) == len(starts), errors
    for error, start in zip(errors, starts, strict=True):
        assert error.startswith(start), error
