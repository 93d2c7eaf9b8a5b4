"""All checks of `doctor`, one after the other. A check that cannot be made is a finding."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from worker.doctor.findings import Finding, fault, not_checked
from worker.rules.errors import ConfigurationError, Unavailable

_TIMEOUT_SECONDS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """`look` returns the findings, or raises why there are none. `needs`: checks that must have succeeded before.
    `required`: a failure is a fault; else the check is not made.
    """

    name: str
    look: Callable[[], Awaitable[Iterable[Finding]]]
    needs: tuple[str, ...] = ()
    required: bool = False


async def examine(checks: Sequence[Check]) -> Sequence[Finding]:
    """The findings of all checks, in order."""
    findings: list[Finding] = []
    failed: set[str] = set()
    for check in checks:
        missing = [name for name in check.needs if name in failed]
        if missing:
            failed.add(check.name)
            findings.append(not_checked(check.name, f"the check of the {missing[0]} failed"))
            continue
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                findings += await check.look()
        except TimeoutError:
            failed.add(check.name)
            findings.append(_failure(check, f"does not answer within {_TIMEOUT_SECONDS:.0f} s"))
        except ConfigurationError as error:
            failed.add(check.name)
            findings.append(fault(check.name, " ".join(str(error).split())))
        except Unavailable as error:
            failed.add(check.name)
            findings.append(_failure(check, " ".join(str(error).split())))
    return findings


def _failure(check: Check, cause: str) -> Finding:
    return fault(check.name, cause) if check.required else not_checked(check.name, cause)
