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


def diagnostics(modules: Path, contract: Any, folder: Path) -> list[Any]:
    file = folder / "asyncapi.json"
    file.write_text(json.dumps(contract), encoding="utf-8")
    command = [node(), str(FOLDER / "validate.cjs"), str(modules), str(file)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
    found: list[Any] = json.loads(done.stdout)
    return found


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


def test_official_parser_has_no_complaint(modules: Path, tmp_path: Path) -> None:
    """Neither errors nor warnings."""
    assert diagnostics(modules, document(), tmp_path) == []


@pytest.mark.parametrize("edit", [without_action, with_unknown_security, with_invalid_payload, with_dangling_reference])
def test_official_parser_refuses_a_wrong_document(modules: Path, tmp_path: Path, edit: Callable[[Any], None]) -> None:
    contract = document()
    edit(contract)
    assert [found for found in diagnostics(modules, contract, tmp_path) if found["severity"] == 0]
