"""A helper beside the scripts that import it."""

from iniconfig import IniConfig


def sections(text: str) -> dict[str, dict[str, str]]:
    return {section.name: dict(section.items()) for section in IniConfig("settings", data=text)}
