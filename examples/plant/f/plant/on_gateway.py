"""Gets the message as bytes: the settings of a gateway, as an INI file."""

# /// script
# dependencies = ["iniconfig>=2"]
# ///

from .ini import sections


def main(payload: bytes):
    return sections(payload.decode())
