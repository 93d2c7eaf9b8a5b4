"""From nothing: gateway, worker and a mapping of ten lines. A recorded GitHub deployment that curl posts with its
signature appears in `status`.
"""

import asyncio
import json
from pathlib import Path

import pytest

from tests.conformance.deadlines import until
from tests.end_to_end.gateway_requests import GITHUB_BODY, KEYS, github_headers
from tests.end_to_end.system import System
from tests.end_to_end.test_status import status
from tests.end_to_end.worker_process import WorkerProcess
from worker.demo.broker import free_port

COMPONENT = "7b1e0f0c-52f3-4a7e-8a34-6f5b8f0f2c11"
MAPPING = f"""\
organization: acme
project: 5d0f4c1e-6a57-4f0b-9d3c-0a4be1c2f7a1
environments:
  production: prod
  staging: stage
rules:
  - match: {{repository: Codertocat/Hello-World}}
    component: {COMPONENT}
  - match: {{repository: "Codertocat/*"}}
    ignore: true
"""


async def post_with_curl(port: int, folder: Path) -> str:
    """The HTTP status."""
    body = folder / "delivery.json"
    body.write_bytes(GITHUB_BODY)
    headers = [part for name, value in github_headers(GITHUB_BODY).items() for part in ("--header", f"{name}: {value}")]
    url = f"http://127.0.0.1:{port}/webhooks/github"
    arguments = ("--silent", "--output", str(folder / "answer.json"), "--write-out", "%{http_code}")
    curl = await asyncio.create_subprocess_exec(
        "curl", *arguments, *headers, "--data-binary", f"@{body}", url, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await curl.communicate()
    return output.decode()


@pytest.mark.parametrize("pair", ["apache+postgresql"], indirect=True)
async def test_deployment_posted_with_curl_appears_in_status(system: System) -> None:
    mapping, keys, port = system.folder / "mapping.yaml", system.folder / "keys.toml", free_port()
    mapping.write_text(MAPPING, encoding="utf-8")
    keys.write_text(KEYS, encoding="utf-8")
    settings = system.settings | {"RUDDER_GATEWAY_KEYS_FILE": str(keys), "RUDDER_GATEWAY_PORT": str(port)}
    with (
        system.worker(RUDDER_MAPPING_FILE=str(mapping)) as worker,
        WorkerProcess("gateway", settings=settings, folder=system.folder, name="gateway") as gateway,
    ):
        await asyncio.gather(worker.ready(), gateway.ready())
        assert await post_with_curl(port, system.folder) == "202"

        async def shown() -> bool:
            return bool((await status(system))["environments"])

        await until(shown, what=lambda: f"status shows it: {worker.output()}")
        assert await worker.stop() == await gateway.stop() == 0
    [cell] = (await status(system))["environments"]
    assert (cell["environment_id"], cell["component_id"]) == ("prod", COMPONENT)
    assert cell["latest"]["status"] == "SUCCESS"
    assert cell["running"]["commit_hash"] == json.loads(GITHUB_BODY)["deployment"]["sha"]
