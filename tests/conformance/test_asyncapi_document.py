"""schemas/asyncapi.json against AsyncAPI's own JSON Schema and parser, from npm; both work offline once installed."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from schemas.asyncapi import FILE
from tests.testkit.availability import unavailable
from tests.testkit.npm_packages import NodeUnavailable, node, node_modules

FOLDER = Path(__file__).parents[1] / "testkit" / "asyncapi"
TIMEOUT_SECONDS = 120


@pytest.fixture(scope="module")
def modules() -> Path:
    try:
        node()
        return node_modules(FOLDER)
    except NodeUnavailable as error:
        unavailable("node", str(error))


@pytest.fixture(scope="module")
def official(modules: Path) -> jsonschema.Draft7Validator:
    """The schema of AsyncAPI 3.1.0, from the package `@asyncapi/specs`, which is AsyncAPI's own."""
    path = modules / "@asyncapi" / "specs" / "schemas" / "3.1.0-without-$id.json"
    return jsonschema.Draft7Validator(json.loads(path.read_bytes()))


def document() -> Any:
    return json.loads(FILE.read_bytes())


def right(contract: Any) -> None:
    """The document as it is."""


def without_action(contract: Any) -> None:
    del contract["operations"]["receive-deployment-events"]["action"]


def with_unknown_binding(contract: Any) -> None:
    contract["channels"]["dead-letters"]["bindings"]["kafka"]["partition"] = 1


def with_unknown_security(contract: Any) -> None:
    contract["components"]["securitySchemes"]["saslPlain"]["type"] = "kerberos"


def with_invalid_payload(contract: Any) -> None:
    contract["components"]["schemas"]["ReleaseBlock"]["required"] = "name"


def with_dangling_reference(contract: Any) -> None:
    contract["channels"]["dead-letters"]["messages"]["dead-letter"]["$ref"] = "#/components/messages/letter"


WRONG = (without_action, with_unknown_security, with_invalid_payload, with_dangling_reference)


@pytest.fixture(scope="module")
def diagnostics(modules: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """What the official parser says of the document, and of each wrong one by its edit. It takes a second to load."""
    folder = tmp_path_factory.mktemp("asyncapi")
    files: dict[str, Path] = {}
    for edit in (right, *WRONG):
        contract = document()
        edit(contract)
        files[edit.__name__] = folder / f"{edit.__name__}.json"
        files[edit.__name__].write_text(json.dumps(contract), encoding="utf-8")
    command = [node(), str(FOLDER / "validate.cjs"), str(modules), *map(str, files.values())]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
    return dict(zip(files, json.loads(done.stdout), strict=True))


def test_document_fits_the_official_schema(official: jsonschema.Draft7Validator) -> None:
    assert [error.message for error in official.iter_errors(document())] == []


@pytest.mark.parametrize("edit", [without_action, with_unknown_binding, with_unknown_security, with_invalid_payload])
def test_official_schema_refuses_a_wrong_document(
    official: jsonschema.Draft7Validator, edit: Callable[[Any], None]
) -> None:
    """The validation above could fail."""
    contract = document()
    edit(contract)
    assert not official.is_valid(contract)


def test_official_parser_has_no_complaint(diagnostics: dict[str, list[Any]]) -> None:
    """Neither errors nor warnings."""
    assert diagnostics["right"] == []


@pytest.mark.parametrize("edit", WRONG)
def test_official_parser_refuses_a_wrong_document(
    diagnostics: dict[str, list[Any]], edit: Callable[[Any], None]
) -> None:
    assert [found for found in diagnostics[edit.__name__] if found["severity"] == 0]
