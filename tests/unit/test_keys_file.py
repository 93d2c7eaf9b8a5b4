"""RUDDER_GATEWAY_KEYS_FILE: keys are used as written; invalid content is refused in one line, without secrets."""

from pathlib import Path

import pytest

from worker.keys_file import FILE_BYTES_MAX, KEYS_MAX, KEYS_OF_SOURCE_MAX, gateway_keys
from worker.rules.errors import ConfigurationError

SECRET = "correct-horse-battery"
KEY = f"[[keys]]\nname = 'a'\nsecret = '{SECRET}'\n"
WHOLE = f"""
[[keys]]
name = "acme-pipelines"
secret = "{SECRET}"
organizations = ["acme", "größe & co"]

[[keys]]
name = "acme-github"
secret = "{SECRET}-2"
webhooks = ["github", "home-made"]
projects = ["acme/*", "other/shop"]

[[keys]]
name = "platform"
secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
organizations = ["*"]
webhooks = ["gitlab", "github"]
"""


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "keys.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal(path: Path | None) -> str:
    with pytest.raises(ConfigurationError) as caught:
        gateway_keys(path)
    line = str(caught.value)
    assert line.startswith("RUDDER_GATEWAY_KEYS_FILE")
    assert len(line.splitlines()) == 1
    assert line.isprintable()
    assert len(line) <= 500
    for text in (line, repr(caught.value), repr(caught.value.__cause__)):
        assert SECRET not in text
    return line


def test_keys_have_the_files_content(tmp_path: Path) -> None:
    keys = gateway_keys(written(tmp_path, WHOLE))
    assert [key.name for key in keys.all] == ["acme-pipelines", "acme-github", "platform"]
    assert [key.name for key in keys.for_webhook("github")] == ["acme-github", "platform"]
    assert [key.name for key in keys.for_webhook("argocd")] == []
    assert keys.sources == ["github", "gitlab", "home-made"]
    pipelines, _, platform = keys.all
    [github] = keys.for_webhook("home-made")
    assert pipelines.is_secret(SECRET.encode())
    assert not pipelines.is_secret(SECRET.encode()[:-1])
    assert [pipelines.covers_organization(name) for name in ("acme", "größe & co", "other", "*", "")] == [
        True, True, False, False, False,
    ]  # fmt: skip
    assert platform.covers_organization("any")
    projects = ("acme/shop", "acme/", "acme", "other/shop", "other/shop2", "xacme/shop", None)
    assert [github.covers_project(name) for name in projects] == [True, True, False, True, False, False, False]
    assert platform.covers_project(None)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    assert "docs/how-to/gateway.md" in refusal(None)
    assert "No such file" in refusal(tmp_path / "missing.toml")
    assert "directory" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "/keys: field required"),
        ("keys = []", "/keys: "),
        ("[keys]\na = 1", "/keys: "),
        ("[[keys]]\nname = 'a'", "/keys/0/secret: field required"),
        (f"[[keys]]\nsecret = '{SECRET}'", "/keys/0/name: field required"),
        (KEY, "key a is for nothing"),
        (KEY + "organisations = ['acme']", "/keys/0/organisations: "),
        (KEY + "organizations = 'acme'", "/keys/0/organizations: "),
        (KEY + "organizations = ['']", "/keys/0/organizations/0: "),
        (KEY + "webhooks = ['GitHub']", "/keys/0/webhooks/0: is not the name of a source"),
        (KEY + "webhooks = ['a/b']", "/keys/0/webhooks/0: "),
        (KEY + "webhooks = ['github']\nprojects = []", "/keys/0/projects: "),
        (KEY + "webhooks = ['github']\nprojects = ['*/shop']", "last character"),
        (KEY.replace("'a'", "'a b'"), "/keys/0/name: "),
        (KEY.replace(SECRET, "correct-horse"), "/keys/0/secret: is shorter than 16 characters"),
        (KEY.replace(SECRET, SECRET + " x"), "without blanks"),
        (KEY.replace(SECRET, SECRET + "ü"), "printable ASCII"),
        (KEY.replace(SECRET, "whsec_" + SECRET + "!"), "base64"),
        (KEY.replace(f"'{SECRET}'", f"['{SECRET}']"), "/keys/0/secret: "),
        ((KEY + "webhooks = ['github']\n") * 2, "two keys have the name a"),
        (f"[[keys]]\nname = 'a'\nsecret = '{SECRET}", "not TOML: "),
        ("a = " + "[" * 100_000, "nested too deep"),
        (b"[[keys]]\nname = '\xff'", "UTF-8"),
        ("#" * (FILE_BYTES_MAX + 1), f"more than {FILE_BYTES_MAX} bytes"),
        (
            "".join(
                f"[[keys]]\nname = '{n}'\nsecret = '{SECRET}'\nwebhooks = ['github']\n"
                for n in range(KEYS_OF_SOURCE_MAX + 1)
            ),
            f"more than {KEYS_OF_SOURCE_MAX}",
        ),
        ("".join(f"[[keys]]\nname = '{n}'\nsecret = '{SECRET}'\n" for n in range(KEYS_MAX + 1)), "/keys: "),
    ],
)
def test_invalid_content_is_refused_with_its_position(tmp_path: Path, text: str | bytes, words: str) -> None:
    assert words in refusal(written(tmp_path, text))
