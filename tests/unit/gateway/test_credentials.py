"""Tokens and signatures: the vectors that the vendors publish, and everything that must not pass for one of them."""

import base64

import pytest

from tests.unit.gateway.requests import NOW_SECONDS, github_signature, head, key, standard_headers
from worker.gateway.credentials import TOLERANCE_SECONDS, matching_key, presented, signing_key
from worker.gateway.keys import Key
from worker.gateway.problems import Kind, Refusal
from worker.gateway.request_head import RequestHead
from worker.gateway.webhooks import SOURCES, schemes_of

GITHUB_SECRET, GITHUB_BODY = "It's a Secret to Everybody", b"Hello, World!"
GITHUB_SIGNATURE = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
"""GitHub's documentation, "Validating webhook deliveries", "Testing the webhook payload validation"."""

STANDARD_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
STANDARD_ID, STANDARD_SECONDS, STANDARD_BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
STANDARD_SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
"""The vector of the libraries of Standard Webhooks and of Svix."""

SIGNED = {
    "webhook-id": STANDARD_ID,
    "webhook-timestamp": str(STANDARD_SECONDS),
    "webhook-signature": STANDARD_SIGNATURE,
}
SECRET = "0123456789abcdef0123456789abcdef"


def found(source: str, headers: RequestHead, body: bytes, *keys: Key, now_seconds: float = NOW_SECONDS) -> str | None:
    """The name of the key that matches."""
    matched = matching_key(schemes_of(source), keys, headers, body, now_seconds=now_seconds)
    return None if matched is None else matched.name


def test_published_vector_of_github_matches() -> None:
    headers = head(x_hub_signature_256=GITHUB_SIGNATURE)
    assert found("github", headers, GITHUB_BODY, key(GITHUB_SECRET)) == "acme"
    assert github_signature(GITHUB_SECRET, GITHUB_BODY) == GITHUB_SIGNATURE


@pytest.mark.parametrize("source", ["gitlab", "github", "home-made"])
def test_published_vector_of_standard_webhooks_matches(source: str) -> None:
    headers = head(SIGNED)
    at = STANDARD_SECONDS + 1.0
    assert found(source, headers, STANDARD_BODY, key(STANDARD_SECRET), now_seconds=at) == "acme"


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "sha256=",
        GITHUB_SIGNATURE.removeprefix("sha256="),
        GITHUB_SIGNATURE.upper(),
        GITHUB_SIGNATURE[:-1],
        GITHUB_SIGNATURE + "0",
        "sha1=" + GITHUB_SIGNATURE.removeprefix("sha256="),
        "sha256=" + "0" * 64,
        "sha256=ü",
    ],
)
def test_other_signature_does_not_match(signature: str) -> None:
    assert found("github", head(x_hub_signature_256=signature), GITHUB_BODY, key(GITHUB_SECRET)) is None


def test_signature_of_another_body_or_secret_does_not_match() -> None:
    headers = head(x_hub_signature_256=GITHUB_SIGNATURE)
    assert found("github", headers, GITHUB_BODY + b" ", key(GITHUB_SECRET)) is None
    assert found("github", headers, GITHUB_BODY, key(GITHUB_SECRET + "!")) is None


@pytest.mark.parametrize(("away", "matches"), [(-301, False), (-300, True), (0, True), (300, True), (301, False)])
def test_signature_is_accepted_only_near_its_time(away: int, matches: bool) -> None:
    """A request that was recorded cannot be sent again later."""
    assert TOLERANCE_SECONDS == 300
    given = found(
        "gitlab", head(SIGNED), STANDARD_BODY, key(STANDARD_SECRET), now_seconds=float(STANDARD_SECONDS - away)
    )
    assert (given is not None) is matches


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "msg_other"},
        {"webhook-timestamp": str(STANDARD_SECONDS + 1)},
        {"webhook-timestamp": "soon"},
        {"webhook-timestamp": "1" * 5000},
        {"webhook-timestamp": f"{STANDARD_SECONDS}.5"},
        {"webhook-signature": STANDARD_SIGNATURE.replace("v1,", "v1a,")},
        {"webhook-signature": STANDARD_SIGNATURE.removeprefix("v1,")},
        {"webhook-signature": "v1,"},
        {"webhook-id": ""},
    ],
)
def test_changed_part_of_a_signed_request_does_not_match(change: dict[str, str]) -> None:
    headers = head(SIGNED | change)
    assert found("gitlab", headers, STANDARD_BODY, key(STANDARD_SECRET), now_seconds=STANDARD_SECONDS) is None


def test_one_of_several_signatures_suffices() -> None:
    """A sender that replaces its secret signs with both for a while."""
    headers = head(SIGNED | {"webhook-signature": f"v1,AAAA v2,BBBB {STANDARD_SIGNATURE}"})
    assert found("gitlab", headers, STANDARD_BODY, key(STANDARD_SECRET), now_seconds=STANDARD_SECONDS) == "acme"


def test_delivery_id_of_gitlab_must_be_the_signed_one() -> None:
    """The worker takes Idempotency-Key for the identity; without this check a replay could choose a new one."""
    same, other = (SIGNED | {"idempotency-key": id_} for id_ in (STANDARD_ID, "another"))
    keys = key(STANDARD_SECRET)
    assert found("gitlab", head(same), STANDARD_BODY, keys, now_seconds=STANDARD_SECONDS) == "acme"
    assert found("gitlab", head(other), STANDARD_BODY, keys, now_seconds=STANDARD_SECONDS) is None


def test_plain_secret_signs_nothing() -> None:
    """Only a secret of Standard Webhooks is a key for its signatures."""
    headers = head(standard_headers("whsec_" + base64.b64encode(SECRET.encode()).decode(), b"{}", id="1", seconds=0))
    assert found("gitlab", headers, b"{}", key(SECRET), now_seconds=0) is None
    assert signing_key(SECRET.encode()) is None
    assert signing_key(b"whsec_!") is None
    assert signing_key(b"whsec_") is None


@pytest.mark.parametrize(
    ("source", "headers"),
    [
        ("gitlab", {"x-gitlab-token": SECRET}),
        ("argocd", {"authorization": f"Bearer {SECRET}"}),
        ("argocd", {"authorization": f"bearer  {SECRET} "}),
        ("azure-devops", {"authorization": "Basic " + base64.b64encode(f"any:{SECRET}".encode()).decode()}),
        ("tekton", {"authorization": "basic " + base64.b64encode(f":{SECRET}".encode()).decode()}),
        ("home-made", {"authorization": f"Bearer {SECRET}"}),
    ],
)
def test_secret_in_a_header_matches(source: str, headers: dict[str, str]) -> None:
    assert found(source, head(headers), b"{}", key(SECRET, name="other"), key("x" * 32)) == "other"
    assert found(source, head(headers), b"{}", key(SECRET[:-1]), key(SECRET + "0")) is None


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", f"Token {SECRET}", SECRET, "Basic", "Basic !", "Basic ====", "Basic QQ==", "Basic é"],
)
def test_unreadable_authorization_does_not_match(authorization: str) -> None:
    assert found("argocd", head(authorization=authorization), b"{}", key(SECRET)) is None


def test_token_of_one_source_is_not_one_of_another() -> None:
    for source in sorted(SOURCES):
        matched = found(source, head({"x-gitlab-token": SECRET}), b"{}", key(SECRET))
        assert (matched is not None) is (source == "gitlab")


def test_request_without_credentials_is_known_before_its_body() -> None:
    assert not presented(schemes_of("github"), head(x_github_event="deployment"))
    assert presented(schemes_of("github"), head(x_hub_signature_256="anything"))
    assert not presented(schemes_of("gitlab"), head(x_hub_signature_256="anything"))
    assert presented(schemes_of("gitlab"), head(authorization="anything"))


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("github", "x-hub-signature-256"),
        ("gitlab", "x-gitlab-token"),
        ("gitlab", "webhook-id"),
        ("argocd", "authorization"),
    ],
)
def test_repeated_credential_is_refused(source: str, name: str) -> None:
    repeated = [(name.encode(), b"one"), (name.upper().encode(), b"one")]
    signed = [(b"webhook-signature", b"v1,x"), (b"webhook-timestamp", b"0"), (b"webhook-id", b"1")]
    with pytest.raises(Refusal) as refused:
        found(source, RequestHead([*repeated, *(pair for pair in signed if name.startswith("webhook"))]), b"", key("x"))
    assert refused.value.kind is Kind.INVALID_REQUEST
    assert name in refused.value.detail


def test_first_of_several_matching_keys_is_found() -> None:
    headers = head(authorization=f"Bearer {SECRET}")
    assert found("argocd", headers, b"", key("y" * 20), key(SECRET, name="a"), key(SECRET, name="b")) == "a"


def test_secret_of_a_key_is_not_in_its_text() -> None:
    assert SECRET not in repr(key(SECRET))
