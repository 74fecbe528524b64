"""Test the settings of configuration files and variables."""

from __future__ import annotations

import os
from unittest.mock import ANY

import pytest

from sdcli.config import Setting, config_files, for_command, has_settings, load_settings
from sdcli.errors import UsageError

COMMANDS = {"generate": frozenset({"steps", "batch_size"}), "vae decode": frozenset({"out"})}


@pytest.fixture(autouse=True)
def user_file(monkeypatch, tmp_path):
    """The user's configuration file; the current folder is empty, and no variable is set."""
    for name in os.environ:
        if name.startswith("SDCLI_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "sdcli").mkdir(parents=True)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "home" / "sdcli" / "sdcli.toml"


@pytest.fixture
def folder_file(tmp_path):
    return tmp_path / "work" / "sdcli.toml"


def test_settings_of_images_are_not_those_of_a_training(folder_file, monkeypatch):
    monkeypatch.setenv("SDCLI_SEED", "4")
    folder_file.write_text(
        'steps = 20\nbatch_size = "auto"\nmodel = "a"\n[train-lora]\nsteps = 900\n'
    )
    options = frozenset({"steps", "batch_size", "seed", "model"})
    settings = load_settings({"train-lora": options, "generate": options})
    training = for_command(settings, "train-lora", options)
    assert {name: s.value for name, s in training.items()} == {"steps": 900, "model": "a"}
    images = for_command(settings, "generate", options)
    assert {name: s.value for name, s in images.items()} == {
        "steps": 20, "batch_size": "auto", "model": "a", "seed": "4"
    }  # fmt: skip


def test_without_files_and_variables_there_are_no_settings(monkeypatch, user_file):
    assert config_files() == load_settings(COMMANDS) == []
    assert not has_settings(None)
    assert has_settings("night")
    monkeypatch.setenv("SDCLI_PROFILE", "night")
    assert not has_settings(None)
    monkeypatch.setenv("SDCLI_STEPS", "3")
    assert has_settings(None)
    monkeypatch.delenv("SDCLI_STEPS")
    user_file.write_text("")
    assert has_settings(None)


def test_settings_are_loaded_in_increasing_precedence(monkeypatch, user_file, folder_file):
    user_file.write_text(
        "steps = 1\n[generate]\nsteps = 2\n[profile.night]\nsteps = 3\n"
        "[profile.night.generate]\nbatch-size = 4\n[profile.day]\nsteps = 9\n"
    )
    folder_file.write_text("steps = 5\n")
    monkeypatch.setenv("SDCLI_BATCH_SIZE", "6")
    settings = load_settings(COMMANDS, "night")
    assert [(s.option, s.value, s.command) for s in settings] == [
        ("steps", 1, None),
        ("steps", 2, "generate"),
        ("steps", 3, None),
        ("batch_size", 4, "generate"),
        ("steps", 5, None),
        ("batch_size", "6", None),
    ]
    assert [s.source.replace(str(user_file), "USER") for s in settings] == [
        "USER",
        "USER [generate]",
        "USER [profile.night]",
        "USER [profile.night] [generate]",
        "sdcli.toml",
        "SDCLI_BATCH_SIZE",
    ]
    chosen = for_command(settings, "generate", COMMANDS["generate"])
    assert {name: setting.value for name, setting in chosen.items()} == {
        "steps": 5,
        "batch_size": "6",
    }


def test_a_command_gets_only_its_own_options():
    settings = [
        Setting(option="out", value="a", source="s"),
        Setting(option="steps", value=1, source="s", command="generate"),
        Setting(option="steps", value=2, source="s", command="vae decode"),
    ]
    assert set(for_command(settings, "vae decode", frozenset({"out"}))) == {"out"}
    chosen = for_command(settings, "generate", frozenset({"steps"}))
    assert chosen == {"steps": settings[1]}


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("stpes = 3", "sdcli.toml: 'stpes' is not an option", "did you mean steps?"),
        ("generate = 3", "sdcli.toml: 'generate' is not an option", "did you mean generate?"),
        (
            "[genrate]\nsteps = 3",
            "sdcli.toml: 'genrate' is not a command",
            "did you mean generate?",
        ),
        ("['vae decode']\nsteps = 3", "sdcli.toml [vae decode]: 'steps' is not an option", None),
        ("profile = 3", "sdcli.toml: 'profile' is not a table of profiles", None),
        ("[profile]\nnight = 3", "sdcli.toml [profile.night]: not a table", None),
        ("[profile.night]\nzzz = 3", "sdcli.toml [profile.night]: 'zzz' is not an option", None),
        (
            "[profile.nigt]",
            "--profile: profile 'night' not found",
            "did you mean nigt?",
        ),
        ("", "--profile: profile 'night' not found", "add [profile.night] to sdcli.toml"),
        (
            "steps =",
            "sdcli.toml:1: invalid TOML: a value is missing, or text without quotes",
            "option names are written as in steps = 20, text in quotes",
        ),
        ("a = " + "[" * 50_000, "sdcli.toml:1:1: invalid TOML: nested too deeply", ANY),
        (f"steps = {'9' * 5000}", "sdcli.toml:1:9: invalid TOML: number with 5000 digits", ANY),
        (f"steps = 0x{'f' * 9000}", "sdcli.toml: 'steps' is too large a number", None),
        ("steps = 1e50", "sdcli.toml: 'steps' is too large a number", None),
        ("steps = 1e400", "sdcli.toml: 'steps' is infinite, or too large a number", None),
        ("steps = [1, -1e400]", "sdcli.toml: 'steps' is infinite, or too large a number", None),
        ("steps = -inf", "sdcli.toml: 'steps' is infinite, or too large a number", None),
        ("steps = nan", "sdcli.toml: 'steps' is nan, which is not a number", None),
        ('steps = "a\\u0000"', "sdcli.toml: 'steps' has a NUL character", None),
        ('steps = "a\0"', "sdcli.toml:1:11: NUL character", "save the file as UTF-8"),
        ("steps = 2020-01-01", "sdcli.toml: 'steps' is not text, a number", None),
        ("steps = [{a = 1}]", "sdcli.toml: 'steps' is not text, a number", None),
    ],
)
def test_invalid_files_raise_usage_errors(folder_file, text, message, hint):
    folder_file.write_text(text)
    with pytest.raises(UsageError) as caught:
        load_settings(COMMANDS, "night")
    assert caught.value.message.startswith(message)
    assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (b'steps = "\xff"', "1:10: not UTF-8"),
        (b"steps = 3\r\0", "2:1: NUL character"),
        ("steps = 3".encode("utf-16-le"), "1:2: NUL character"),
    ],
)
def test_a_file_that_is_no_text_raises_a_usage_error(folder_file, data, place):
    folder_file.write_bytes(data)
    with pytest.raises(UsageError, match=rf"sdcli\.toml:{place}"):
        load_settings(COMMANDS)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_a_file_may_have_any_encoding_and_line_ends(folder_file, encoding, end):
    folder_file.write_bytes(f"steps = 3{end}batch-size = 4{end}".encode(encoding))
    assert [s.value for s in load_settings(COMMANDS)] == [3, 4]


def home_is_a_file(monkeypatch, folder):
    (folder / "file").write_text("")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "file"))


def home_has_a_long_name(monkeypatch, folder):
    monkeypatch.setenv("XDG_CONFIG_HOME", "/" + "x" * 300)


def home_is_a_loop(monkeypatch, folder):
    (folder / "loop").symlink_to(folder / "loop")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "loop"))


def home_is_unknown(monkeypatch, folder):
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.delenv("HOME", raising=False)

    def unknown(uid):
        raise KeyError(uid)

    monkeypatch.setattr("pwd.getpwuid", unknown)


def home_is_unreadable(monkeypatch, folder):
    def refuse(path, **options):
        if str(path).startswith("/closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return os_stat(path, **options)

    # The tests may run as root, who may read everything.
    os_stat = os.stat
    monkeypatch.setattr("os.stat", refuse)
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", "/closed")


@pytest.mark.parametrize(
    "change",
    [
        home_is_a_file,
        home_has_a_long_name,
        home_is_a_loop,
        home_is_unknown,
        home_is_unreadable,
    ],
)
def test_a_home_folder_without_settings_is_no_error(monkeypatch, tmp_path, folder_file, change):
    folder_file.write_text("steps = 3\n")
    change(monkeypatch, tmp_path)
    assert [s.value for s in load_settings(COMMANDS)] == [3]


def test_an_unknown_variable_raises_a_usage_error(monkeypatch):
    monkeypatch.setenv("SDCLI_STPES", "3")
    with pytest.raises(
        UsageError, match="the environment: 'SDCLI_STPES' is not an option"
    ) as caught:
        load_settings(COMMANDS)
    assert caught.value.hint == "did you mean SDCLI_STEPS?"
