"""Where settings come from, and what is said about a wrong one."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from shared.config import KEYS, Settings
from shared.config_keys import public_url
from shared.config_sources import OTHER_VARIABLES, load_settings
from shared.errors import ConfigError


def refusal(env: dict[str, str], folder: Path, toml: str | None = None) -> ConfigError:
    """The error for this environment and file."""
    if toml is not None:
        (folder / "headrace.toml").write_text(toml, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_settings(env, folder)
    return caught.value


def test_without_sources_every_setting_has_its_default(tmp_path: Path) -> None:
    """Nothing has to be set; only the data folder depends on where the process starts."""
    assert load_settings({}, tmp_path) == msgspec.structs.replace(Settings(), data=tmp_path / ".headrace")


def test_the_file_wins_over_defaults_and_the_environment_over_the_file(tmp_path: Path) -> None:
    """Sources are read in order."""
    (tmp_path / "headrace.toml").write_text("[ingest]\nmax_payload = 7\nmax_inbox = 8\n", encoding="utf-8")

    settings = load_settings({"HEADRACE_INGEST__MAX_INBOX": "9"}, tmp_path)

    assert settings.ingest.max_payload == 7
    assert settings.ingest.max_inbox == 9
    assert settings.ingest.receive_maximum == 1000


def test_text_of_the_environment_becomes_numbers_flags_and_paths(tmp_path: Path) -> None:
    """A variable holds text, a setting its type."""
    settings = load_settings(
        {"HEADRACE_LOG__RUNS": "true", "HEADRACE_WORKER__BATCH_TARGET_MS": "2.5", "HEADRACE_DATA": "/var/lib/h"},
        tmp_path,
    )

    assert settings.log.runs is True
    assert settings.worker.batch_target_ms == 2.5
    assert settings.data == Path("/var/lib/h")
    assert settings.cache == Path("/var/lib/h/cache")


def test_headrace_config_names_another_file(tmp_path: Path) -> None:
    """The named file is read instead of headrace.toml."""
    (tmp_path / "headrace.toml").write_text("redis_url = 'redis://a'", encoding="utf-8")
    (tmp_path / "other.toml").write_text("redis_url = 'redis://b'", encoding="utf-8")

    assert load_settings({"HEADRACE_CONFIG": "other.toml"}, tmp_path).redis_url == "redis://b"


def test_redis_url_is_read_and_headrace_redis_url_wins(tmp_path: Path) -> None:
    """Platforms set REDIS_URL; our own name is more specific."""
    (tmp_path / "headrace.toml").write_text("redis_url = 'redis://file'", encoding="utf-8")
    platform = {"REDIS_URL": "rediss://platform"}

    assert load_settings(platform, tmp_path).redis_url == "rediss://platform"
    assert load_settings(platform | {"HEADRACE_REDIS_URL": "redis://ours"}, tmp_path).redis_url == "redis://ours"


def test_an_empty_variable_counts_as_not_set(tmp_path: Path) -> None:
    """Compose files pass on what is missing as empty."""
    env = {"REDIS_URL": "", "HEADRACE_CONFIG": "", "HEADRACE_LOG__LEVEL": "", "HEADRACE_UNKNOWN": ""}

    assert load_settings(env, tmp_path) == load_settings({}, tmp_path)


def test_a_named_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    """What was asked for must not be passed over."""
    error = refusal({"HEADRACE_CONFIG": "gone.toml"}, tmp_path)

    assert str(tmp_path / "gone.toml") in error.message
    assert "HEADRACE_CONFIG" in error.hint


@pytest.mark.parametrize(
    "toml,key,suggestion",
    [
        ("[ingest]\nmax_paylod = 1", "ingest.max_paylod", "ingest.max_payload"),
        ("max_payload = 1", "max_payload", "ingest.max_payload"),
        ("[ingst]\nmax_payload = 1", "ingst", "ingest"),
        ("ingest = 1", "ingest", "[ingest]"),
    ],
)
def test_an_unknown_key_names_the_file_and_the_nearest_key(
    tmp_path: Path, toml: str, key: str, suggestion: str
) -> None:
    """A slip of the pen is answered with what was meant."""
    error = refusal({}, tmp_path, toml)

    assert f"headrace.toml: {key} is not a setting" in error.message
    assert suggestion in error.hint


def test_an_unknown_variable_is_refused_with_the_nearest_one(tmp_path: Path) -> None:
    """A variable that would do nothing is not passed over."""
    error = refusal({"HEADRACE_INGEST__MAX_PAYLOD": "1"}, tmp_path)

    assert "HEADRACE_INGEST__MAX_PAYLOD" in error.message
    assert "HEADRACE_INGEST__MAX_PAYLOAD" in error.hint


def test_variables_outside_the_tree_and_of_others_are_left_alone(tmp_path: Path) -> None:
    """Known names are allowed, and only HEADRACE_ is ours."""
    others = dict.fromkeys(OTHER_VARIABLES.keys() - {"HEADRACE_CONFIG"}, "redis://x")

    assert load_settings(others | {"HEAD": "1", "headrace_x": "1"}, tmp_path).redis_url == "redis://x"


@pytest.mark.parametrize(
    "toml,found,expected",
    [
        ("[ingest]\nmax_payload = '64k'", "the text '64k'", "an integer from 1 to 67108864"),
        ("[ingest]\nmax_payload = 0", "the number 0", "an integer from 1 to 67108864"),
        ("[ingest]\nmax_payload = true", "true", "an integer from 1"),
        ("[ingest]\nkeep_alive_s = 1.5", "the number 1.5", "an integer from 1 to 65535"),
        ("[ingest]\nconnect_timeout_s = 0", "the number 0", "a number above 0"),
        ("[worker]\nrunner_memory_mib = [1]", "a list", "an integer of at least 0"),
        ("[worker.python]\nx = 1", "a table", "text such as"),
        ("[log]\nformat = 'xml'", "the text 'xml'", "console or json"),
        ("[log]\nruns = 1", "the number 1", "true or false"),
        ("data = 1", "the number 1", "a path"),
        ("data = 1979-05-27", "the date 1979-05-27", "a path"),
    ],
)
def test_a_wrong_value_says_what_was_found_and_what_is_expected(
    tmp_path: Path, toml: str, found: str, expected: str
) -> None:
    """The message leads from the value to the remedy."""
    error = refusal({}, tmp_path, toml)

    assert f"is {found}, expected {expected}" in error.message
    assert "headrace.toml" in error.message
    assert str(error.fields["key"]) in error.message


def test_a_wrong_variable_is_named_as_it_was_written(tmp_path: Path) -> None:
    """REDIS_URL is called REDIS_URL, and its password stays out of the message."""
    error = refusal({"REDIS_URL": "http://me:secret@host"}, tmp_path)

    assert error.message.startswith("REDIS_URL is the text 'http://me:***@host', expected text such as redis://")


def test_bounds_that_belong_together_are_compared(tmp_path: Path) -> None:
    """A shortest wait above the longest makes no sense, from whatever source each came."""
    error = refusal({"HEADRACE_INGEST__REFUSED_MIN_S": "400"}, tmp_path)

    assert "ingest.refused_min_s is 400, more than ingest.refused_max_s, which is 300" in error.message


@pytest.mark.parametrize("content", [b"[ingest", b"\xff\xfe"])
def test_a_file_that_is_not_toml_is_named(tmp_path: Path, content: bytes) -> None:
    """The reader's complaint is passed on with the file's name."""
    (tmp_path / "headrace.toml").write_bytes(content)

    error = refusal({}, tmp_path)

    assert str(tmp_path / "headrace.toml") in error.message
    assert error.exit_status == 2


def test_every_setting_is_described_and_its_default_is_allowed() -> None:
    """The tree is its own reference."""
    for key in KEYS.values():
        assert key.description.endswith(".")
        assert key.expected
        if key.default_is_value:
            key.convert(key.default, text=True)


@pytest.mark.parametrize(
    "url,shown",
    [
        ("redis://user:p@ss@host:1/0", "redis://user:***@host:1/0"),
        ("redis://:secret@host", "redis://:***@host"),
        ("mqtt://host:1883/a@b", "mqtt://host:1883/a@b"),
        ("mqtt://user@host", "mqtt://user@host"),
    ],
)
def test_passwords_are_taken_out_of_urls(url: str, shown: str) -> None:
    """What is logged does not hold a secret."""
    assert public_url(url) == shown
