"""The OpenAPI document is valid, and says of each operation what the gateway does."""

import json
import re

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from openapi_spec_validator.validation.exceptions import OpenAPIValidationError

from worker.gateway.credentials import Signature, Token
from worker.gateway.openapi import document
from worker.gateway.operations import OPERATIONS, Operation
from worker.gateway.problems import STATUSES
from worker.gateway.webhooks import NAME, SOURCES

DOCUMENT = document(event_bytes_max=1_048_576)


def test_document_is_valid() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()
    broken = json.loads(json.dumps(DOCUMENT))
    del broken["paths"]["/webhooks/{source}"]["post"]["parameters"]
    with pytest.raises(OpenAPIValidationError):
        OpenAPIV31SpecValidator(broken).validate()


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_operation_has_its_answers(operation: Operation) -> None:
    found = DOCUMENT["paths"][operation.path][operation.method.lower()]
    assert found["operationId"] == operation.name
    expected = {str(operation.success.value), *(str(STATUSES[kind].value) for kind in operation.kinds)}
    assert set(found["responses"]) == expected
    for kind in operation.kinds:
        answer = found["responses"][str(STATUSES[kind].value)]
        assert f"urn:rudder:problem:{kind}" in json.dumps(answer)


def test_path_has_every_source() -> None:
    [parameter] = DOCUMENT["paths"]["/webhooks/{source}"]["post"]["parameters"]
    assert parameter["schema"]["examples"] == sorted(SOURCES)
    assert all(re.search(parameter["schema"]["pattern"], name) for name in SOURCES)
    assert not re.search(parameter["schema"]["pattern"], "a/b")
    assert NAME.pattern in parameter["schema"]["pattern"]


def test_each_header_with_credentials_is_a_security_scheme() -> None:
    schemes = DOCUMENT["components"]["securitySchemes"].values()
    named = {scheme["name"] for scheme in schemes if scheme["type"] == "apiKey"}
    own = {scheme.headers[0] for source in SOURCES.values() for scheme in source.schemes}
    assert named == {"webhook-signature", *own}
    assert all(isinstance(scheme, Signature | Token) for source in SOURCES.values() for scheme in source.schemes)
