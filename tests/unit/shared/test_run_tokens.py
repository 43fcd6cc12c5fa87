"""The tokens of runs: only the holder of the key can make one."""

from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st

from shared.run_tokens import RunToken, mint, verify

KEY = bytes(32)
TOKEN = mint(KEY, "q2-abcdefgh-1-7", "0123abcd-5-1")


def test_a_token_names_its_execution() -> None:
    """It is text that a header can carry, and says what it is."""
    assert TOKEN.startswith("hr_run_")
    assert set(TOKEN) <= {*string.ascii_letters, *string.digits, "-", "_", "."}
    assert verify(KEY, TOKEN) == RunToken("q2-abcdefgh-1-7", "0123abcd-5-1")


def test_a_token_is_good_with_its_own_key_only() -> None:
    """Another installation's tokens are nothing here."""
    assert verify(b"x" * 32, TOKEN) is None


def test_a_token_with_another_claim_or_signature_is_refused() -> None:
    """Neither the run nor the execution can be exchanged."""
    other = mint(KEY, "q2-abcdefgh-1-8", "0123abcd-5-1")
    claim, _, signature = TOKEN.rpartition(".")

    assert verify(KEY, f"{other.rpartition('.')[0]}.{signature}") is None
    assert verify(KEY, f"{claim}.{signature[:-2]}AA") is None
    assert verify(KEY, claim) is None
    assert verify(KEY, "") is None


@given(st.text(max_size=60))
def test_no_text_is_taken_for_a_token(text: str) -> None:
    """Whatever comes with a request: the answer is None, and never an error."""
    assert verify(KEY, text) is None
    assert verify(KEY, "hr_run_" + text) is None
    assert verify(KEY, TOKEN + text) == (None if text else RunToken("q2-abcdefgh-1-7", "0123abcd-5-1"))
