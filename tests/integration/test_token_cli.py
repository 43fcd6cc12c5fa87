"""`headrace token` and `headrace audit` against a real server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared import keys, tokens
from shared.store import Store
from tests.support.pipeline import Pipeline


@pytest.fixture
def pipeline(tmp_path: Path, redis_url: str) -> Pipeline:
    """Commands, and no processes."""
    return Pipeline(tmp_path, redis_url)


def test_a_token_is_made_listed_and_revoked(pipeline: Pipeline, redis_url: str) -> None:
    """Its text is printed alone, so that a shell can take it; the audit log tells of both."""
    text = pipeline.headrace("token", "create", "night watch", "--scope", "operate", "--expires", "90d").strip()
    store = Store.connect(redis_url)
    token_id = tokens.id_of(text)
    assert token_id
    token = tokens.read_token(store.command(*tokens.token_command(token_id)))
    assert token
    assert tokens.is_its_text(token, text)
    assert (token.name, token.scope) == ("night watch", "operate")
    assert token.expires_at == token.created_at + 90 * 86_400_000

    (row,) = [json.loads(line) for line in pipeline.headrace("token", "list", "--json").splitlines()]
    assert (row["id"], row["last_used_at"]) == (token_id, None)
    assert "night watch" in pipeline.headrace("token", "list")
    assert pipeline.headrace("token", "revoke", "night watch") == f"{token_id}  night watch is revoked\n"
    assert pipeline.headrace("token", "list") == "no tokens\n"
    assert store.command("HLEN", keys.TOKENS) == 0
    entries = [json.loads(line) for line in pipeline.headrace("audit", "--json").splitlines()]
    assert [(entry["what"], entry["on"]) for entry in entries] == [
        ("revoke token", token_id),
        ("make token", token_id),
    ]
    assert text not in str(entries)
    assert "revoke token" in pipeline.headrace("audit")


def test_what_cannot_be_made_or_found_is_said(pipeline: Pipeline) -> None:
    """A name that fits no line, a span that is none, a token that is not there, two of one name."""
    pipeline.headrace("token", "create", "two\nlines", expect=1)
    pipeline.headrace("token", "create", "x", "--expires", "soon", expect=1)
    pipeline.headrace("token", "create", "x", "--scope", "all", expect=2)
    pipeline.headrace("token", "revoke", "nobody", expect=1)
    pipeline.headrace("token", "revoke", expect=2)
    for _ in range(2):
        pipeline.headrace("token", "create", "twin", "--expires", "never")
    pipeline.headrace("token", "revoke", "twin", expect=1)
