"""A whole pipeline with a console and a broker, spoken to by Windmill's own API client."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from windmill_api import AuthenticatedClient
from windmill_api.api.job import get_job, run_script_by_path
from windmill_api.models.run_script_by_path_json_body import RunScriptByPathJsonBody

from shared import keys
from shared.store import Store
from tests.support.console import WORKSPACE
from tests.support.eventually import eventually
from tests.support.mosquitto import Mosquitto
from tests.support.pipeline import Pipeline
from tests.support.ports import HOST, free_port
from tests.support.wheels import PackageFolder
from tests.support.windmill import TIMEOUT_S, token_of
from tests.support.workspaces import write_workspace

READY_S = 60
"""All processes start at once."""


class WindmillPlant:
    """Processes of a Headrace, `client` with a token that may do everything, and a client of the broker."""

    def __init__(self, folder: Path, redis_url: str, broker: Mosquitto, scripts: dict[str, str]) -> None:
        port = free_port()
        self.url = f"http://{HOST}:{port}"
        self.store = Store.connect(redis_url)
        packages = PackageFolder(folder / "packages")
        packages.add_installed("wmill")
        self.pipeline = Pipeline(folder, redis_url, HEADRACE_CONSOLE__PORT=str(port), **packages.environment)
        self.pipeline.push(write_workspace(folder / "workspace", broker.port, {}, scripts))
        self.pipeline.start("ingest", "dispatch", "worker-1", "worker-2", "console")
        self.pipeline.processes["console"].wait_ready(READY_S)
        self.token = token_of(self.store, "admin", "alice@plant.example")
        self.client = AuthenticatedClient(base_url=f"{self.url}/api", token=self.token, timeout=TIMEOUT_S)  # type: ignore[arg-type]
        self.broker = broker
        self._publisher = paho.Client(CallbackAPIVersion.VERSION2)
        self._publisher.connect(HOST, broker.port)
        self._publisher.loop_start()

    def publish(self, topic: str, payload: str) -> None:
        """Publish a message of QoS 1, and wait until the broker has it."""
        self._publisher.publish(topic, payload, qos=1).wait_for_publish(20)

    def start(self, path: str, args: dict[str, Any] | None = None, **options: Any) -> str:
        """Start a script by the client; the id of the job."""
        body = RunScriptByPathJsonBody.from_dict(args or {})
        answer = run_script_by_path.sync_detailed(WORKSPACE, path, client=self.client, json_body=body, **options)
        assert answer.status_code == 201, answer.content
        return answer.content.decode()

    def version(self, path: str) -> str:
        """Of a script that is deployed."""
        found: bytes = self.store.command("HGET", keys.DEPLOYED, f"script:{path}")
        return found.decode()

    def job(self, job_id: str) -> dict[str, Any]:
        """The job, by the client's own models."""
        found = get_job.sync(WORKSPACE, job_id, client=self.client)
        assert found is not None
        return dict(found.to_dict())

    def until(self, job_id: str, test: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The job, as soon as it is so."""

        def found() -> dict[str, Any]:
            job = self.job(job_id)
            return job if test(job) else {}

        return eventually(found, 40)

    def completed(self, job_id: str) -> dict[str, Any]:
        """The job, as soon as it has ended."""
        return self.until(job_id, lambda job: job["type"] == "CompletedJob")

    def running(self, job_id: str) -> dict[str, Any]:
        """The job, as soon as it is executed."""
        return self.until(job_id, lambda job: job["type"] == "CompletedJob" or job["running"])

    def request(self, method: str, path: str, **more: Any) -> Any:
        """A request below the workspace, with the token."""
        return self.client.get_httpx_client().request(method, f"/w/{WORKSPACE}{path}", **more)

    def queue_length(self) -> int:
        """Runs that wait for a worker."""
        length: int = self.store.command("LLEN", keys.RQ_QUEUE)
        return length

    def close(self) -> None:
        """End everything."""
        self._publisher.disconnect()
        self._publisher.loop_stop()
        self.client.get_httpx_client().close()
        self.pipeline.close()
        self.store.close()
