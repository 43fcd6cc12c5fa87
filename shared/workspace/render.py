"""Definitions as the text of their files, in the style of Windmill's tools. Pure."""

from __future__ import annotations

from typing import Any

import yaml

from shared.definitions import Resource, Variable
from shared.workspace.yaml_values import plain_value


class _Dumper(yaml.SafeDumper):
    """Plain YAML 1.2: no aliases, lists indented, texts quoted where either version of YAML would misread them."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's form
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None if plain_value(text) == text else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def variable_yaml(variable: Variable) -> str:
    """The text of `<path>.variable.yaml`; the value as it is in the record (a secret one: sealed, if it is sealed)."""
    fields = {"description": variable.description, "value": variable.value, "is_secret": variable.is_secret}
    return yaml_text(fields)


def resource_yaml(resource: Resource) -> str:
    """The text of `<path>.resource.yaml`."""
    fields = {
        "description": resource.description, "value": resource.value, "resource_type": resource.resource_type
    }  # fmt: skip
    return yaml_text(fields)


def yaml_text(value: Any) -> str:
    """JSON as YAML that the reader of workspace files reads back as the same."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000)
    return text
