"""Variables and resources as files: read, referred to, sealed, written."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from shared.definitions import Broker, Resource, Variable
from shared.errors import SecretError, WorkspaceError
from shared.secrets import SecretBox
from shared.workspace import Workspace, check_files
from shared.workspace.files import Files
from shared.workspace.problems import Problem, Problems
from shared.workspace.render import resource_yaml, variable_yaml, yaml_text
from shared.workspace.sealing import seal_secrets, with_value
from shared.workspace.selection import Selection

BOX = SecretBox(lambda: b"a key of the tests")
SECRET = "description: the password\nvalue: correct horse # keep\nis_secret: true\n"


def workspace(selection: Selection | None = None, **files: str) -> Workspace:
    """Of files in f/a; in a name `__` stands for the dot before its kind."""
    texts = {f"f/a/{name.replace('__', '.')}.yaml": text for name, text in files.items()}
    return check_files(Files(texts, [], selection or Selection()), "the folder", Problems())


def problems(**files: str) -> list[Problem]:
    """What is wrong with them."""
    given: dict[str, Any] = dict(files)
    with pytest.raises(WorkspaceError) as caught:
        workspace(**given)
    found = caught.value.fields["problems"]
    assert isinstance(found, list)
    return found


def sealed(found: Workspace, **deployed: Variable) -> Workspace:
    """With these variables of f/a deployed."""
    return seal_secrets(found, {f"f/a/{name}": variable for name, variable in deployed.items()}, BOX)


def test_a_variable_is_read_as_windmill_writes_it() -> None:
    """The value is text by YAML 1.2: `on` and a time are."""
    found = workspace(a__variable="description: null\nvalue: on\nis_secret: false\n", b__variable="value: 12:30:00\n")

    assert [file.variable for file in found.variables] == [Variable("f/a/a", "on"), Variable("f/a/b", "12:30:00")]


@pytest.mark.parametrize(
    "text, key, word",
    [
        ("description: x\nis_secret: false\n", "value", "missing"),
        ("value: 3\n", "value", "not a text"),
        ("value: [a]\n", "value", "not a text"),
        ("value: a\nis_secrt: true\n", "is_secrt", "unknown key"),
        ("value: a\nis_secret: 1\n", "is_secret", "expected true or false"),
    ],
)
def test_a_variable_that_says_too_little_is_refused(text: str, key: str, word: str) -> None:
    """With its line and key."""
    (problem,) = problems(a__variable=text)

    assert (problem.file, problem.key, word in problem.message) == ("f/a/a.variable.yaml", key, True)


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        "is_secret: true\nvalue: 'correct horse'\n",
        'value: "correct horse"\nis_secret: true',
        "# ümläut\nvalue: |-\n  correct horse\nis_secret: true\n",
        "value: >\n  correct\n  horse\ndescription: ''\nis_secret: true\n",
        "{value: correct horse, is_secret: true}\n",
        "is_secret: true\nvalue: &x correct horse\ndescription: *x\n",
    ],
)
def test_a_secret_is_sealed_in_its_variable_and_left_out_of_its_file(text: str) -> None:
    """However YAML writes it; the file alone then means the secret that is deployed, and with the value it is whole."""
    found = sealed(workspace(a__variable=text))
    (file,) = found.variables
    stored = found.texts["f/a/a.variable.yaml"]
    again = sealed(workspace(a__variable=stored), a=file.variable)
    plain = BOX.open("f/a/a", file.variable.value)
    whole = sealed(workspace(a__variable=with_value(stored, structs.replace(file.variable, value=plain))))

    assert plain.strip() == "correct horse"
    assert "value" in stored
    assert "horse" not in stored or "*x" in text
    assert again.variables[0].variable == file.variable
    assert again.texts == whole.texts == found.texts
    assert whole.variables[0].variable == file.variable


def test_all_but_the_value_of_a_secret_file_stays_as_it_was() -> None:
    """Comments too: a pull gives the file back."""
    found = sealed(workspace(a__variable=SECRET))

    assert found.texts["f/a/a.variable.yaml"] == SECRET.replace(" correct horse", "")
    variable = Variable("f/a/a", "correct horse", is_secret=True, description="the password")
    assert with_value(found.texts["f/a/a.variable.yaml"], variable) == SECRET


def test_a_secret_without_a_value_keeps_what_is_deployed() -> None:
    """Also one that was plain until now; with nothing to keep it is an error."""
    file = workspace(a__variable="description: ''\nis_secret: true\n")
    secret = Variable("f/a/a", BOX.seal("f/a/a", "old"), is_secret=True)

    assert sealed(file, a=secret).variables[0].variable == secret
    assert sealed(file, a=Variable("f/a/a", "old")).variables[0].variable == secret
    assert sealed(file, a=secret).texts == file.texts
    with pytest.raises(WorkspaceError, match=r"a.variable.yaml:1: value: missing, and none is deployed"):
        sealed(file)


def test_a_sealed_text_in_a_file_is_the_secret_if_it_can_be_opened() -> None:
    """It comes from a pull; of another installation it means nothing here."""
    ours, theirs = BOX.seal("f/a/a", "x"), SecretBox(lambda: b"another key").seal("f/a/a", "x")

    assert sealed(workspace(a__variable=f"value: {ours}\nis_secret: true\n")).variables[0].variable.value == ours
    with pytest.raises(WorkspaceError, match="cannot be opened"):
        sealed(workspace(a__variable=f"value: {theirs}\nis_secret: true\n"))


def test_a_workspace_without_secrets_needs_no_key() -> None:
    """One with a secret is refused without."""
    assert seal_secrets(workspace(a__variable="value: x\n"), {}, SecretBox.without_key()).variables
    with pytest.raises(SecretError):
        seal_secrets(workspace(a__variable=SECRET), {}, SecretBox.without_key())


def test_a_key_that_is_not_that_of_the_deployed_secrets_seals_nothing() -> None:
    """Who deploys is told, instead of whoever runs; with all secrets given again it is a new key, and a warning."""
    theirs = SecretBox(lambda: b"another key")
    before = Variable("f/a/a", theirs.seal("f/a/a", "old"), is_secret=True)
    other = Variable("f/a/other", theirs.seal("f/a/other", "x"), is_secret=True)
    again = sealed(workspace(a__variable=SECRET), a=before)

    with pytest.raises(SecretError, match="f/a/other is deployed under another key"):
        sealed(workspace(a__variable=SECRET), a=before, other=other)
    assert BOX.open("f/a/a", again.variables[0].variable.value) == "correct horse"
    assert ["another key" in each.message for each in again.warnings] == [True]
    assert sealed(workspace(b__variable="value: x\n"), a=before, other=other).warnings == []


def test_what_windmill_has_encrypted_is_warned_about() -> None:
    """Only in a folder of its tools, and only where it looks like it."""
    text = "value: Yl8xc2VjcmV0IG9mIHdpbmRtaWxsIDEyMzQ1Njc4OTA=\nis_secret: true\n"

    assert [each.key for each in workspace(Selection(encrypted=True), a__variable=text).warnings] == ["value"]
    assert workspace(a__variable=text).warnings == []
    assert workspace(Selection(encrypted=True), a__variable=SECRET).warnings == []


def test_a_broker_may_name_variables() -> None:
    """They are kept as they are, and resolved when a connection is made."""
    text = (
        "resource_type: mqtt\nvalue:\n  broker: $var:f/a/host\n  port: 8883\n"
        "  credentials: {username: u, password: '$var:f/a/pw'}\n"
        "  tls: {enabled: true, ca_certificate: '$var:f/a/ca', pkcs12_client_certificate: '$var:f/a/p12'}\n"
    )
    found = workspace(b__resource=text)

    assert found.brokers["f/a/b"] == Broker(
        "f/a/b", "$var:f/a/host", 8883, "u", "$var:f/a/pw", tls=True, ca_certificate="$var:f/a/ca",
        pkcs12_client_certificate="$var:f/a/p12",
    )  # fmt: skip
    assert [(each.line, each.key, each.path) for each in found.references] == [
        (3, "value.broker", "f/a/host"),
        (5, "value.credentials.password", "f/a/pw"),
        (6, "value.tls.ca_certificate", "f/a/ca"),
        (6, "value.tls.pkcs12_client_certificate", "f/a/p12"),
    ]
    assert found.warnings == []


@pytest.mark.parametrize("kind", ["postgresql", "mqtt"])
def test_a_password_that_is_written_out_is_warned_about(kind: str) -> None:
    """Without showing it."""
    value = "broker: h\n  port: 1883\n  credentials: {password: correct horse}"
    (warning,) = workspace(b__resource=f"resource_type: {kind}\nvalue:\n  {value}\n").warnings

    assert (warning.line, warning.key) == (5, "value.credentials.password")
    assert "$var:" in warning.hint
    assert "horse" not in str(warning)


def test_resources_that_refer_to_each_other_in_a_circle_are_refused() -> None:
    """A run could not read either."""
    a, b = ("resource_type: x\nvalue:\n  other: $res:f/a/" + name for name in "ba")
    found = problems(a__resource=a, b__resource=b)

    assert [(each.file, each.line, "leads back to itself" in each.message) for each in found] == [
        ("f/a/a.resource.yaml", 3, True),
        ("f/a/b.resource.yaml", 3, True),
    ]


@pytest.mark.parametrize("value", ["{a: {a: 1, a: 2}}", "{[a]: 1}", "&x [*x]"])
def test_a_value_that_is_no_json_is_refused(value: str) -> None:
    """A key twice, a key that is no text, a value within itself."""
    assert [each.key for each in problems(a__resource=f"resource_type: x\nvalue: {value}\n")] == ["value"]


@pytest.mark.parametrize(
    "value",
    [
        "", "text", "no", "on", "1e3", "0o17", "12:30:00", "2026-01-01", "a: b", "# x", " lead", "trail ", "two\nlines",
        "two\n", "tab\t", "ß→", "!inline x", "*a", "null", "1", 1, 1.5, -3, True, None, [], {}, [[1], {"a": []}],
        {"on": "off", "b": {"c": ["x", {"y": None}]}},
    ],
)  # fmt: skip
def test_what_is_written_reads_back_as_the_same(value: Any) -> None:
    """Any JSON, with texts that YAML could take for something else."""
    resource = Resource("f/a/r", "x", {"v": value}, "described")

    assert workspace(r__resource=resource_yaml(resource)).resources == {"f/a/r": resource}


def test_a_variable_that_is_written_reads_back_as_the_same() -> None:
    """In Windmill's order of keys."""
    variable = Variable("f/a/v", "a\nb: 'c'\n", description="on")

    assert workspace(v__variable=variable_yaml(variable)).variables[0].variable == variable
    assert yaml_text({"value": "12"}) == "value: '12'\n"
