"""Defaults from files and variables: what is typed wins, and what is misspelt is told."""

from __future__ import annotations

import itertools

import pytest


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    folder = tmp_path / "home" / "sdcli"
    folder.mkdir(parents=True)
    return folder


def test_what_is_typed_beats_variables_beat_the_folder_beats_home(
    run_cli, home, tmp_path, monkeypatch
):
    def seed(*argv: str) -> int:
        ran = run_cli(*argv, "generate", "a cat", "--steps", "1", "--json")
        assert ran.code == 0, ran.stderr
        return int(ran.document["images"][0]["seed"])

    (home / "sdcli.toml").write_text("seed = 1\n[profile.night]\nseed = 2\n")
    assert seed() == 1
    assert seed("--profile", "night") == 2
    here = tmp_path / "sdcli.toml"
    here.write_text("seed = 3\n")
    assert seed() == 3
    here.write_text("seed = 3\n[generate]\nseed = 4\n[doctor]\njson = true\n")
    assert seed() == 4
    monkeypatch.setenv("SDCLI_SEED", "5")
    assert seed() == 5
    ran = run_cli("generate", "a cat", "--steps", "1", "--json", "--seed", "6")
    assert ran.document["images"][0]["seed"] == 6


def test_flags_and_other_types_are_read_as_typed(run_cli, tmp_path, monkeypatch):
    (tmp_path / "sdcli.toml").write_text(
        'json = true\nsteps = 1\nguidance = 2.5\nsize = "64x64"\nbatch-size = 2\n'
    )
    monkeypatch.setenv("SDCLI_QUIET", "yes")
    ran = run_cli("generate", "a cat")
    [image] = ran.document["images"]
    assert (image["width"], image["height"]) == (64, 64)


LEVELS = ("line", "typed", "file", "settings")


@pytest.mark.parametrize(
    "said", [some for n in range(5) for some in itertools.combinations(LEVELS, n)]
)
def test_the_line_beats_the_typed_beats_the_files_defaults_beat_settings(
    run_cli, tmp_path, monkeypatch, said
):
    steps = {name: i for i, name in enumerate(LEVELS, 1)}
    top = f"--steps {steps['file']}\n" if "file" in said else ""
    line = f" --steps {steps['line']}" if "line" in said else ""
    (tmp_path / "a.txt").write_text(f"{top}a cat{line}\n")
    if "settings" in said:
        (tmp_path / "sdcli.toml").write_text('size = "64x72"\n')
        monkeypatch.setenv("SDCLI_STEPS", str(steps["settings"]))
    typed = ("--steps", str(steps["typed"])) if "typed" in said else ()
    ran = run_cli("batch", "a.txt", "--dry-run", "--json", *typed)
    [job] = ran.document["jobs"]
    expected = next((steps[level] for level in LEVELS if level in said), 20)
    assert job["num_inference_steps"] == expected
    assert job["width"] == (64 if "settings" in said else 128)
    assert ("has no effect" in ran.stderr) == ({"line", "typed"} <= set(said))


def test_a_setting_that_cannot_be_is_told_with_its_source(run_cli, tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("a cat\n")
    monkeypatch.setenv("SDCLI_STEPS", "0")
    ran = run_cli("batch", "a.txt", "--dry-run")
    assert ran.stderr.startswith("sdcli: error: SDCLI_STEPS: num_inference_steps (--steps): 0 is")
    assert run_cli("batch", "a.txt", "--dry-run", "--steps", "3").code == 0


def test_a_grid_shows_a_sweep_of_the_settings(run_cli, tmp_path):
    (tmp_path / "sdcli.toml").write_text('steps = "1,2"\n')
    ran = run_cli("generate", "a cat", "--grid", "steps", "--size", "64x64")
    assert (ran.code, len(ran.paths)) == (0, 3)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("stpes = 3", "sdcli.toml: 'stpes' is not an option"),
        ("[genrate]\nsteps = 3", "sdcli.toml: 'genrate' is not a command"),
        ("[doctor]\nsteps = 3", "sdcli.toml [doctor]: 'steps' is not an option"),
        ("steps = ", "sdcli.toml:1: "),
        ("profile = 3", "sdcli.toml: 'profile' is not a table"),
        ("[profile]\nnight = 3", "sdcli.toml [profile.night]: not a table"),
        ("verbose = 2.5", "sdcli.toml: invalid value for '--verbose' / '-v': '2.5' is not a whole"),
        ("steps = 2.5", "sdcli.toml: num_inference_steps (--steps): '2.5' is not a whole number"),
        ('force = "perhaps"', "sdcli.toml: force: 'perhaps' is not true or false"),
    ],
)
def test_a_bad_file_is_told_with_its_name(run_cli, tmp_path, text, told):
    (tmp_path / "sdcli.toml").write_text(text)
    arguments = ("--profile", "night") if "night" in text else ()
    ran = run_cli(*arguments, "generate", "a cat")
    assert ran.code == 2
    assert ran.stderr.startswith(f"sdcli: error: {told}")


def test_a_bad_variable_and_a_missing_profile_are_told(run_cli, monkeypatch):
    ran = run_cli("--profile", "night", "doctor")
    assert ran.code == 2
    assert "profile 'night' not found" in ran.stderr
    monkeypatch.setenv("SDCLI_STPES", "3")
    ran = run_cli("generate", "a cat")
    assert ran.code == 2
    assert "'SDCLI_STPES' is not an option" in ran.stderr
    assert "did you mean SDCLI_STEPS?" in ran.stderr


def test_doctor_says_where_a_default_is_from(run_cli, home, monkeypatch):
    (home / "sdcli.toml").write_text("[generate]\nsteps = 12\n")
    monkeypatch.setenv("SDCLI_OUT", "pictures")
    ran = run_cli("doctor", "--json")
    assert [(s["option"], s["value"], s["command"]) for s in ran.document["settings"]] == [
        ("steps", 12, "generate"),
        ("out", "pictures", None),
    ]
    assert "setting out: pictures for all, from SDCLI_OUT" in run_cli("doctor").stdout
