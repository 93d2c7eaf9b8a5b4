"""The tokens and signatures of a request, compared with keys in constant time.

Sources: GitHub, "Validating webhook deliveries"; GitLab, "Webhooks" (secret token and signing token); Standard
Webhooks 1.0; CircleCI, "Webhooks"; Bitbucket Cloud, "Secure webhooks"; Flux, "Alert Providers" (generic-hmac).
"""

import base64
import binascii
import hmac
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Protocol

from worker.gateway.keys import Key
from worker.gateway.request_head import RequestHead

TOLERANCE_SECONDS: Final = 300
"""How far the time of a signature may be from now, before or after: the tolerance of the Standard Webhooks libraries.
Within it, a replayed request repeats an identity, and changes nothing.
"""

SIGNING_PREFIX: Final = "whsec_"
"""Of a secret of Standard Webhooks: the rest is the key in base64."""

_TIME_DIGITS_MAX = 12
"""Up to the year 33658; int() takes long for a longer text."""

_SIGNATURES_MAX = 16
"""Of one request: a sender has one for each of its secrets."""

Matches = Callable[[Key], bool]


class Scheme(Protocol):
    """A way to prove the knowledge of a key."""

    @property
    def headers(self) -> tuple[str, ...]:
        """The headers that hold the proof; they are never passed on, but for what also identifies the delivery."""
        ...

    def matcher(self, head: RequestHead, body: bytes, *, now_seconds: float) -> Matches | None:
        """Whether a key matches the request; None: the request has nothing of this scheme."""
        ...


@dataclass(frozen=True, slots=True)
class Authorization:
    """`Bearer <secret>`, or `Basic` with the secret as the password and any user (RFC 6750, RFC 7617)."""

    headers: tuple[str, ...] = ("authorization",)

    def matcher(self, head: RequestHead, body: bytes, *, now_seconds: float) -> Matches | None:
        del body, now_seconds
        given = _authorization(head.raw("authorization"))
        return None if given is None else lambda key: key.is_secret(given)


@dataclass(frozen=True, slots=True)
class Token:
    """The secret itself in a header."""

    headers: tuple[str, ...]

    def matcher(self, head: RequestHead, body: bytes, *, now_seconds: float) -> Matches | None:
        del body, now_seconds
        given = head.raw(self.headers[0])
        return None if given is None else lambda key: key.is_secret(given)


@dataclass(frozen=True, slots=True)
class Signature:
    """The HMAC SHA-256 of the body, in hexadecimal digits behind `prefix`."""

    headers: tuple[str, ...]
    prefix: str

    def matcher(self, head: RequestHead, body: bytes, *, now_seconds: float) -> Matches | None:
        del now_seconds
        text = head.text(self.headers[0])
        if text is None:
            return None
        given = text.strip()

        def matches(key: Key) -> bool:
            expected = self.prefix + hmac.new(key.secret, body, sha256).hexdigest()
            return hmac.compare_digest(expected.encode(), given.encode())

        return matches


@dataclass(frozen=True, slots=True)
class StandardWebhooks:
    """`webhook-signature` over id, time and body, as GitLab's signing tokens. The key's secret begins with `whsec_`.

    `same_as_id`: a header that must repeat the signed id where it is present, because it identifies the delivery.
    """

    same_as_id: str = "idempotency-key"
    headers: tuple[str, ...] = ("webhook-signature",)

    def matcher(self, head: RequestHead, body: bytes, *, now_seconds: float) -> Matches | None:
        given = head.text("webhook-signature")
        id_, time = head.text("webhook-id"), head.text("webhook-timestamp")
        if given is None or not id_ or time is None:
            return None
        if not _is_recent(time, now_seconds=now_seconds) or head.text(self.same_as_id) not in {None, id_}:
            return _matches_nothing
        signed = b".".join((id_.encode("latin-1"), time.encode("latin-1"), body))
        signatures = [text[3:] for text in given.split()[:_SIGNATURES_MAX] if text.startswith("v1,")]

        def matches(key: Key) -> bool:
            secret = signing_key(key.secret)
            if secret is None:
                return False
            expected = base64.b64encode(hmac.new(secret, signed, sha256).digest())
            return sum(hmac.compare_digest(expected, signature.encode()) for signature in signatures) > 0

        return matches


def signing_key(secret: bytes) -> bytes | None:
    """The key of a secret of Standard Webhooks; None: it is no such secret."""
    if not secret.startswith(SIGNING_PREFIX.encode()):
        return None
    try:
        return base64.b64decode(secret[len(SIGNING_PREFIX) :], validate=True) or None
    except binascii.Error:
        return None


def presented(schemes: Sequence[Scheme], head: RequestHead) -> bool:
    """Whether the request has credentials at all, of any scheme: the others need no reading of their bodies."""
    return any(header in head for scheme in schemes for header in scheme.headers)


def matching_key(
    schemes: Iterable[Scheme], keys: Iterable[Key], head: RequestHead, body: bytes, *, now_seconds: float
) -> Key | None:
    """The first key that matches. All keys are compared: the time discloses nothing of them.

    Raises:
        Refusal: a header of the credentials is repeated.
    """
    matchers = [
        matcher for scheme in schemes if (matcher := scheme.matcher(head, body, now_seconds=now_seconds)) is not None
    ]
    found: Key | None = None
    for key in keys:
        if sum(matches(key) for matches in matchers) and found is None:
            found = key
    return found


def _matches_nothing(_key: Key) -> bool:
    return False


def _is_recent(time: str, *, now_seconds: float) -> bool:
    if not (time.isascii() and time.isdigit() and len(time) <= _TIME_DIGITS_MAX):
        return False
    return abs(now_seconds - int(time)) <= TOLERANCE_SECONDS


def _authorization(value: bytes | None) -> bytes | None:
    """The secret in it; empty for one that cannot be read, which no key has."""
    if value is None:
        return None
    scheme, _, given = value.strip().partition(b" ")
    match scheme.lower():
        case b"bearer":
            return given.strip()
        case b"basic":
            try:
                return base64.b64decode(given.strip(), validate=True).partition(b":")[2]
            except binascii.Error:
                return b""
        case _:
            return b""
