"""What those who may only read are not told of resources."""

from __future__ import annotations

import pytest

from console.masking import mask_file, mask_value

KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEAv\n-----END RSA PRIVATE KEY-----"


def test_plain_secrets_are_masked_by_the_names_of_their_keys() -> None:
    """At any depth; references, numbers of ports and empty texts stay."""
    value = {
        "host": "db",
        "port": 5432,
        "password": "hunter2",
        "credentials": {"username": "wm", "Password": "$var:f/p", "api_key": "k", "passphrase": ""},
        "tokens": ["a", "$var:f/t"],
        "url": "postgres://u:hunter2@db:5432/x",
        "plain_url": "https://db:5432/a@b",
        "tls": {"enabled": True, "client": KEY},
    }

    assert mask_value(value) == {
        "host": "db",
        "port": 5432,
        "password": "***",
        "credentials": {"username": "wm", "Password": "$var:f/p", "api_key": "***", "passphrase": ""},
        "tokens": ["***", "$var:f/t"],
        "url": "postgres://u:***@db:5432/x",
        "plain_url": "https://db:5432/a@b",
        "tls": {"enabled": True, "client": "***"},
    }


@pytest.mark.parametrize("line, shown", [
    ("  password: hunter2", "  password: ***"),
    ("  'api_key': \"abc\"", "  'api_key': ***"),
    ("  password: $var:f/p", "  password: $var:f/p"),
    ("  password: '$var:f/p'", "  password: '$var:f/p'"),
    ("  host: db", "  host: db"),
    ("  url: postgres://u:hunter2@h/db", "  url: postgres://u:***@h/db"),
    ("      MIIEowIBAAKCAQEAvMIIEowIBAAKCAQEAvMIIEowIBAAKCAQEAv", "      ***"),
])  # fmt: skip
def test_lines_of_a_resources_file_are_masked(line: str, shown: str) -> None:
    """Only for whom they are to be hidden from, and only in resources."""
    assert mask_file("f/a.resource.yaml", f"value:\n{line}\n", hide=True) == f"value:\n{shown}\n"
    assert mask_file("f/a.resource.yaml", line, hide=False) == line
    assert mask_file("f/a.py", line, hide=True) == line


def test_sealed_values_of_variables_are_masked() -> None:
    """Whatever file they are in."""
    assert mask_file("f/a.variable.yaml", "value: hr1:AbC+/=\n", hide=True) == "value: ***\n"
