"""Secrets and references, without a file or a server."""

from __future__ import annotations

from typing import Any

import pytest

from shared.config import Settings
from shared.definitions import Resource, Variable
from shared.errors import SecretError, UnknownReference
from shared.run_tokens import mint
from shared.secrets import SecretBox, is_sealed
from shared.values import Values

KEY = "a key of the tests, long enough"
BOX = SecretBox(KEY.encode)


def values(resources: dict[str, Any] | None = None, **variables: str) -> Values:
    """Plain variables of f/v and resources of f/r."""
    named = {f"f/v/{name}": Variable(f"f/v/{name}", text) for name, text in variables.items()}
    return Values(named, {f"f/r/{k}": Resource(f"f/r/{k}", "x", v) for k, v in (resources or {}).items()}, BOX)


@pytest.mark.parametrize("text", ["", "s", "correct horse", "ß\n" * 1000])
def test_a_sealed_secret_opens_again(text: str) -> None:
    """Whatever its length."""
    sealed = BOX.seal("f/a/b", text)

    assert is_sealed(sealed)
    assert text == "" or text not in sealed
    assert BOX.open("f/a/b", sealed) == text


def test_the_same_secret_at_the_same_path_gives_the_same_text() -> None:
    """So that a push of an unchanged secret changes nothing; at another path it is another text."""
    assert BOX.seal("f/a", "x") == BOX.seal("f/a", "x")
    assert BOX.seal("f/a", "x") != BOX.seal("f/b", "x")


def test_what_was_sealed_elsewhere_does_not_open() -> None:
    """Under another key, at another path, or damaged: the error names the path, never the value."""
    sealed = BOX.seal("f/a", "the secret")
    other = SecretBox(lambda: b"another key of the tests")

    for box, path, text in [
        (other, "f/a", sealed),
        (BOX, "f/b", sealed),
        (BOX, "f/a", sealed[:-4]),
        (BOX, "f/a", "hr1:*"),
    ]:
        with pytest.raises(SecretError, match=f"the secret {path} cannot be opened") as error:
            box.open(path, text)
        assert "the secret" not in str(error.value).replace(f"the secret {path}", "")


def test_each_purpose_has_a_key_of_its_own() -> None:
    """Of 32 bytes, the same for everybody who has the key."""
    again = SecretBox(KEY.encode)

    assert len(BOX.derive(b"run tokens")) == 32
    assert BOX.derive(b"run tokens") == again.derive(b"run tokens") != BOX.derive(b"other")


def test_a_box_without_a_key_says_so_when_it_is_used() -> None:
    """Not before: who has no secret needs none."""
    box = SecretBox.load(Settings(), create=False, env={"HEADRACE_SECRET_KEY": "short"})

    with pytest.raises(SecretError, match="5 characters, less than 16"):
        box.seal("f/a", "x")
    with pytest.raises(SecretError, match=r"there is no key"):
        SecretBox.without_key().open("f/a", "hr1:")


def test_references_are_replaced_at_any_depth() -> None:
    """A text that *is* one; a text that only contains one stays."""
    found = values(
        {"db": {"host": "db", "password": "$var:f/v/pw"}, "all": [{"db": "$res:f/r/db"}, "see $var:f/v/pw", 3, None]},
        pw="correct horse",
    )

    assert found.resolve("$res:f/r/all") == [
        {"db": {"host": "db", "password": "correct horse"}}, "see $var:f/v/pw", 3, None
    ]  # fmt: skip
    assert found.resource("f/r/db") == {"host": "db", "password": "$var:f/v/pw"}


def test_a_name_that_is_not_there_is_told_with_the_way_to_it() -> None:
    """Variable and resource alike."""
    found = values({"a": {"x": "$res:f/r/b"}, "b": ["$var:f/v/none"], "c": "$res:f/r/none"})

    with pytest.raises(UnknownReference, match=r"there is no variable f/v/none .by way of f/r/a → f/r/b"):
        found.resolve("$res:f/r/a")
    with pytest.raises(UnknownReference, match=r"there is no resource f/r/none"):
        found.resolve({"y": "$res:f/r/c"})


def test_a_circle_and_a_long_chain_are_refused() -> None:
    """They have no end, or look as if."""
    chain = {str(n): f"$res:f/r/{n + 1}" for n in range(20)} | {"20": 1, "self": "$res:f/r/self"}

    with pytest.raises(UnknownReference, match="leads back to itself"):
        values(chain).resolve("$res:f/r/self")
    with pytest.raises(UnknownReference, match="more than 10 references away"):
        values(chain).resolve("$res:f/r/0")
    assert values(chain).resolve("$res:f/r/12") == 1


def test_secrets_are_known_for_masking_but_for_short_ones() -> None:
    """A text of three characters would be masked everywhere."""
    variables = {
        path: Variable(path, BOX.seal(path, text), is_secret=True)
        for path, text in {"f/a": "long", "f/b": "abc"}.items()
    }
    found = Values(variables | {"f/c": Variable("f/c", "plain")}, {}, BOX)

    assert found.secrets() == {"long"}
    assert (found.variable("f/b"), found.variable("f/c")) == ("abc", "plain")


def test_a_text_that_is_a_secret_is_replaced_by_its_reference_and_comes_back() -> None:
    """Not what is no secret or a short one, nor the name of a parameter."""
    secrets = {"f/a": "long", "f/b": "abc", "f/d": "long"}
    variables = {path: Variable(path, BOX.seal(path, text), is_secret=True) for path, text in secrets.items()}
    found = Values(variables | {"f/c": Variable("f/c", "plain")}, {}, BOX)
    value = {"long": ["long", "plain", "abc", 1, None, True, {"x": "lon"}]}

    assert found.referring(value) == {"long": ["$var:f/a", "plain", "abc", 1, None, True, {"x": "lon"}]}
    assert found.resolve(found.referring(value)) == value


@pytest.mark.parametrize(
    "held",
    ['Bearer 12-s3"cret', {"body": '{"key": "12-s3\\"cret"}'}, [1, {"x": {'12-s3"cret': 1}}], 4711, [{"n": 4711.5}]],
)
def test_what_holds_a_secret_is_sealed_and_comes_back(held: Any) -> None:
    """A part of a text, the name of a field, a number: nothing of it can be read where arguments are kept."""
    secrets = {"f/a": '12-s3"cret', "f/b": "4711"}
    found = Values(
        {path: Variable(path, BOX.seal(path, text), is_secret=True) for path, text in secrets.items()}, {}, BOX
    )
    kept = found.referring({"x": held})

    assert "s3" not in str(kept)
    assert "4711" not in str(kept)
    assert "$sealed:hr1:" in str(kept)
    assert found.resolve(kept) == {"x": held}


def test_the_token_of_a_run_is_sealed_where_nothing_else_is_secret() -> None:
    """A run that hands its own token on hands it to its child alone."""
    token = mint(b"key", "q2-f-t-level-1-1", "worker-7")
    found = Values({}, {}, BOX)
    kept = found.referring({"x": f"Bearer {token}", "y": 1})

    assert token not in str(kept)
    assert kept["y"] == 1
    assert found.resolve(kept) == {"x": f"Bearer {token}", "y": 1}


def test_what_others_have_sealed_is_not_opened() -> None:
    """A variable's own sealed text is not an argument."""
    with pytest.raises(SecretError, match="the secret among the arguments of a run cannot be opened"):
        values().resolve(f"$sealed:{BOX.seal('f/a', 'the secret')}")
