"""Prompt files: what was written is what is read, and what is wrong is named with its place."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sdcli.errors import UsageError, UsageErrors
from sdcli.prompts.expansion import EntryExpander, RequestTemplate
from sdcli.prompts.formats import format_of, get_reader
from sdcli.request import GenerationRequest

EXAMPLES = sorted(p for p in (Path(__file__).parents[2] / "prompts").iterdir() if p.is_file())
FORMATS = ["txt", "csv", "tsv", "jsonl", "json", "yaml", "toml"]

printed = st.characters(
    exclude_categories=["Cs", "Cc", "Zl", "Zp"], exclude_characters="\ufeff\x85"
)
texts = st.text(printed, min_size=1, max_size=20).map(str.strip).filter(bool)
rows = st.fixed_dictionaries(
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


def quoted(value):
    text = str(value)
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def as_txt(rows):
    return "".join(" ".join(f"--{k} {quoted(v)}" for k, v in row.items()) + "\n" for row in rows)


def as_columns(rows, delimiter):
    out = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row)) or ["prompt"]
    writer = csv.DictWriter(out, names, delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def as_toml(rows):
    def table(row):
        return "".join(f"{k} = {json.dumps(v, ensure_ascii=False)}\n" for k, v in row.items())

    return "".join(f"[[requests]]\n{table(row)}" for row in rows)


WRITERS = {
    "txt": as_txt,
    "csv": lambda rows: as_columns(rows, ","),
    "tsv": lambda rows: as_columns(rows, "\t"),
    "jsonl": lambda rows: "".join(json.dumps(row) + "\n" for row in rows),
    "json": lambda rows: json.dumps(rows, indent=1),
    "yaml": lambda rows: yaml.safe_dump(rows, allow_unicode=True),
    "toml": as_toml,
}


def lines_of(text):
    return [line + "\n" for line in text.split("\n")]


def read(name, text, asked=None):
    """The requests of a text, and the errors as (place and message)."""
    expander, requests, errors = EntryExpander(asked or RequestTemplate()), [], []
    for entry in get_reader(name)(lines_of(text), f"f.{name}"):
        try:
            if isinstance(entry, UsageError):
                raise entry
            if entry:
                requests += expander.expand(entry)
        except UsageErrors as error:
            errors += [str(one) for one in error.several]
        except UsageError as error:
            errors.append(str(error))
    return requests, errors


@pytest.mark.parametrize("name", FORMATS)
@given(rows=st.lists(rows, max_size=4))
@settings(max_examples=60)
def test_what_is_written_is_read(name, rows):
    if name == "toml" and not rows:
        return  # no table at all is an empty request
    requests, errors = read(name, WRITERS[name](rows))
    assert errors == []
    assert requests == [GenerationRequest.from_dict(row) for row in rows]


@pytest.mark.parametrize("name", FORMATS)
@given(data=st.data())
@settings(max_examples=60)
def test_no_text_makes_a_traceback(name, data):
    """Neither noise nor a valid file with a wound."""
    text = data.draw(st.text(max_size=60))
    whole = WRITERS[name](data.draw(st.lists(rows, min_size=1, max_size=2)))
    cut = data.draw(st.integers(0, len(whole)))
    for wounded in (text, whole[:cut] + text + whole[cut:], whole[:cut]):
        for error in read(name, wounded)[1]:
            assert error.startswith(f"f.{name}")


@pytest.mark.parametrize("name", FORMATS)
@given(raw=st.binary(max_size=40))
@settings(max_examples=30)
def test_no_bytes_make_a_traceback(name, raw):
    read(name, raw.decode("utf-8", "surrogateescape"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_are_good(path):
    requests, errors = read(format_of(path.name), path.read_text("utf-8"))
    assert errors == []
    assert len(requests) >= 2


@pytest.mark.parametrize(
    ("name", "text", "errors"),
    [
        ("txt", "a cat\na dog --stpes 3 --seed x\n", ["f.txt:2:7: unknown", "f.txt:2:17: seed"]),
        ("txt", 'a --n "red\n', ["f.txt:1:7: --n: the quote"]),
        ("txt", 'a --n "b" c\n', ["f.txt:1:11: --n: 'c' after"]),
        ("txt", "a --steps\n", ["f.txt:1:10: --steps has no value"]),
        ("txt", "a --steps 3 --s 4\n", ["f.txt:1:13: --s is said twice"]),
        ("txt", "a --steps 3 --steps 4\n", ["f.txt:1:13: --steps is said twice"]),
        ("txt", "a\n--steps 4\n", ["f.txt:2:1: no prompt"]),
        ("csv", 'prompt,steps\na,x\n"b\nb",0\n', ["f.csv:2:3: num", "f.csv:4:4: num"]),
        ("txt", 'a --stpes --n "red\n', ["f.txt:1:3: unknown field 'stpes'", "f.txt:1:15: --n"]),
        ("txt", '--prompt "a\nb --prompt "a\n', ["f.txt:1:10: --prompt", "f.txt:2:3: --prompt"]),
        ("txt", "a --restore_faces\n", ["f.txt:1:3: 'restore_faces' is an A1111 setting"]),
        ("txt", "a --offline b\n", ["f.txt:1:3: offline: 'b' is not true or false"]),
        ("csv", "prompt,stpes\na,1\nb,2\n", ["f.csv:1:8: unknown field 'stpes'"]),
        ("csv", "promt\na\n", ["f.csv:1:1: unknown field 'promt'"]),
        ("csv", "a cat on a mat\na dog\n", ["f.csv:1:1: no column is called prompt"]),
        ("csv", "# no\nsteps,sede\n8,1\n", ["f.csv:2:1: no column", "f.csv:2:7: unknown"]),
        ("csv", "prompt;steps\na;1\n", ["f.csv:1:1: the delimiter is a comma, not a semicolon"]),
        ("tsv", "prompt,steps\na,1\n", ["f.tsv:1:1: the delimiter is a tab, not a comma"]),
        ("csv", ",prompt\n0,a\n", ["f.csv:1:1: a column without a name"]),
        ("csv", "prompt,steps,s teps\na,1,2\n", ["f.csv:1:14: unknown field 's teps'"]),
        (
            "csv",
            'steps,prompt\n1,"a cat\n2,a dog\nx,a pig\n',
            ["f.csv:2:3: the quote is not closed", "f.csv:4:1: num"],
        ),
        ("csv", 'prompt,steps\n"a "red" cat",1\n', ["f.csv:2:5: text after the closing quote"]),
        (
            "csv",
            'prompt,seed\n"a cat,1\n"a dog",x\n',
            ["f.csv:2:1: the quote is closed in line 3 only", "f.csv:3:9: seed"],
        ),
        ("csv", 'prompt,seed\n5" nails,x\n', ["f.csv:2:10: seed"]),
        ("csv", "seed,prompt\n1,a\n2,\n", ["f.csv:3:3: no prompt"]),
        ("csv", "prompt,steps,num_inference_steps\n", ["f.csv:1:14: the column"]),
        ("csv", "prompt,prompt\na,1\n", ["f.csv:1:8: the column 'prompt'"]),
        ("csv", "prompt\na,b\n", ["f.csv:2:3: 2 cells"]),
        ("jsonl", '"a"\n{"prompt": "b",}\n', ["f.jsonl:2:16: not JSON"]),
        ("jsonl", '{"prompt": "b", "steps": "x"}\n', ["f.jsonl:1:17: num"]),
        (
            "jsonl",
            '{"prompt": "b", "prompt": "c"}\n',
            ["f.jsonl:1:17: not JSON: 'prompt' is there"],
        ),
        ("jsonl", '{"prompt": "NaN", "eta": NaN}\n', ["f.jsonl:1:26: not JSON: NaN is no number"]),
        ("jsonl", f'{{"seed": {"1" * 5000}}}\n', ["f.jsonl:1:10: not JSON: a number of 5000"]),
        ("jsonl", '"a"\n  {"seed": 1}\n', ["f.jsonl:2:3: no prompt"]),
        ("jsonl", " [1]\n", ["f.jsonl:1:2: not a request"]),
        (
            "jsonl",
            '{"prompt": "a", "prompts": 1, "s": {"eta": 2}, "eta": 2}\n',
            ["f.jsonl:1:17: unknown", "f.jsonl:1:31: unknown", "f.jsonl:1:48: eta"],
        ),
        ("json", '[\n 1,\n {"prompt": "b"}, null\n]', ["f.json:2:2: not a", "f.json:3:19: not a"]),
        ("json", '[{"a": 1},\n {"prompt": "b",\n "prompt": 1}]', ["f.json:3:2: not JSON: 'pro"]),
        ("json", '["a",\n -Infinity]', ["f.json:2:2: not JSON: -Infinity is no number"]),
        ("json", "[" * 100_000, ["f.json:1:1: not JSON: nested too deeply"]),
        ("json", '["a",\n {"prompt": "b",\n  "seed": -2}]', ["f.json:3:3: seed: -2"]),
        (
            "json",
            '{"requests": [{"seed": 1,\n "prompt": 5}]}',
            ["f.json:2:2: prompt: 5 is not text"],
        ),
        ("json", '["a"', ["f.json:2:1: not JSON"]),
        ("yaml", "- a\n- prompt: b\n  steps: many\n", ["f.yaml:3:3: num"]),
        ("yaml", "- prompt: [\n", ["f.yaml:3:1: not YAML"]),
        ("yaml", "- prompt: 12\n", ["f.yaml:1:3: prompt: 12 is not text"]),
        ("yaml", "- &a [*a]\n", ["f.yaml:1:3: not a request"]),
        ("yaml", "- a\n- <<: 3\n", ["f.yaml:2:7: << merges"]),
        ("yaml", "- &a {<<: *a, prompt: b, eta: 2}\n", ["f.yaml:1:26: eta"]),
        ("yaml", "- prompt: a\n  b\0\n", ["f.yaml:2:4: not YAML: unacceptable"]),
        ("yaml", "- !!python/name:os.system x\n", ["f.yaml:1:3: the tag"]),
        ("toml", 'steps = 3\n[[requests]]\nprompt = "a"\nseed = "x"\n', ["f.toml:4:1: seed"]),
        ("toml", "steps = \n", ["f.toml:1:9: not TOML"]),
        (
            "toml",
            '[[requests]]\nprompt="a"\n[[requests]]\nprompt="b"\nsteps="q"\n',
            ["f.toml:5:1: num"],
        ),
        ("yaml", "a: " + "[" * 50_000, ["f.yaml:1:1: not YAML: nested too deeply"]),
        (
            "toml",
            'requests = [\n  {prompt = "a", eta = 2}, # a = {\n  {seed = 1, prompt = 3},\n 5]\n',
            ["f.toml:2:18: eta", "f.toml:3:14: prompt", "f.toml:4:2: not a request"],
        ),
        ("toml", 'defaults = {eta = 2}\n[[requests]]\nprompt="a"\n', ["f.toml:1:13: eta"]),
        ("toml", 'defaults.eta = 2\n[[requests]]\nprompt="a"\n', ["f.toml:1:1: eta"]),
        ("toml", '[[requests]]\nprompt="""\neta = 1\n"""\neta = 2', ["f.toml:5:1: eta"]),
        ("toml", '[[requests]]\nprompt = """\na\n', ["f.toml:2:10: not TOML: Unter"]),
        ("toml", 'requests = [\n "a",\n "b"\n', ["f.toml:1:12: not TOML: Unclosed"]),
        ("toml", "a = 1\na = 2\n", ["f.toml:2:6: not TOML: Cannot overwrite a value"]),
        ("toml", f"a = 1\nseed = {'1' * 5000}", ["f.toml:2:8: not TOML: a number of 5000"]),
        ("toml", 'prompt = "a"\nrequests = []\n', ["f.toml:1:1: a prompt beside"]),
    ],
)
def test_errors_say_where(name, text, errors):
    found = read(name, text)[1]
    assert len(found) == len(errors)
    for got, start in zip(found, errors, strict=True):
        assert got.startswith(start)


def test_every_error_of_an_entry_is_told():
    text = '{"prompt": "a", "foo": 1, "steps": 0, "seed": "x", "size": "9", "bar": 2}'
    assert len(read("jsonl", text)[1]) == 5


def test_yaml_merges_and_keeps_what_is_only_referred_to():
    text = """
x-base: &base {steps: 8, seed: 1, size: [64, 72]}
x-more: &more {<<: *base, seed: 2, eta: 0.5}
defaults: {<<: *base, guidance: 3}
requests:
  - {<<: [*more, *base], prompt: a, steps: 9}
  - prompt: b
"""
    [one, other], errors = read("yaml", text)
    assert errors == []
    assert (one.num_inference_steps, one.seed, one.eta, one.height) == (9, 2, 0.5, 72)
    assert (other.num_inference_steps, other.seed, other.guidance_scale) == (8, 1, 3.0)


def test_a_fault_that_is_merged_is_told_where_it_is_written():
    text = "x-a: &a {eta: 2}\nrequests: [{<<: *a, prompt: b}, {<<: *a, prompt: c}]\n"
    assert {error.split(" (")[0].split(": ")[0] for error in read("yaml", text)[1]} == {
        "f.yaml:1:10"
    }


def test_a_switch_needs_no_value_and_kohyas_letters_no_case():
    [request], errors = read("txt", "a cat --offline --W 64 --H 72 --N a dog --force-vae\n")
    assert errors == []
    assert (request.spec.offline, request.spec.force_vae, request.width) == (True, True, 64)
    assert (request.height, request.negative_prompt) == (72, "a dog")


def test_a_yaml_no_is_a_word():
    [request], _ = read("yaml", "prompt: yes\nnegative: no\n")
    assert (request.prompt, request.negative_prompt) == ("yes", "no")


def test_lines_as_kohya_and_a1111_write_them():
    kohya = "a cat, (red:1.2) -- really --n dog, two --w 64 --h 72 --d 7 --s 20 --l 3.5 --ss ddim"
    a1111 = (
        '--prompt "a cat, (red:1.2) -- really" --negative_prompt dog, two --width 64 --height 72 '
        '--seed 7 --steps 20 --cfg_scale 3.5 --sampler_name "ddim"'
    )
    [one], [other] = read("txt", kohya)[0], read("txt", a1111)[0]
    assert one == other
    assert one.prompt == "a cat, (red:1.2) -- really"
    assert (one.negative_prompt, one.height, one.seed) == ("dog, two", 72, 7)


def test_a_long_file_is_not_held():
    import tracemalloc

    line = json.dumps({"prompt": "a cat on a mat", "steps": 4, "seed": 7})
    expander = EntryExpander(RequestTemplate())
    tracemalloc.start()
    count = 0
    for entry in get_reader("jsonl")((line for _ in range(30_000)), "f.jsonl"):
        count += sum(1 for _ in expander.expand(entry))
        if count == 1000:  # the machine is warm: what comes now would grow with the file
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 30_000
    assert peak - before < 100_000
