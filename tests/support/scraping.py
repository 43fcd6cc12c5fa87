"""Asking a process for its metrics and its health, as Prometheus and a load balancer would."""

from __future__ import annotations

from typing import Any, NamedTuple

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.support.ports import HOST


class Sample(NamedTuple):
    """One figure. `labels` without those that Prometheus adds."""

    name: str
    labels: dict[str, str]
    value: float


class Scrape:
    """What a process told at one moment."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.types = {family.name: family.type for family in text_string_to_metric_families(text)}
        self.samples = [
            Sample(each.name, dict(each.labels), each.value)
            for family in text_string_to_metric_families(text)
            for each in family.samples
        ]

    def sum(self, name: str, **labels: str) -> float:
        """The sum over all series with these labels; 0 where there is none."""
        return sum(each.value for each in self.samples if each.name == name and labels.items() <= each.labels.items())

    def by(self, name: str, label: str) -> dict[str, float]:
        """By the values of one label, all others summed up."""
        values = {each.labels[label] for each in self.samples if each.name == name and label in each.labels}
        return {value: self.sum(name, **{label: value}) for value in values}


class Asked:
    """A process that listens on this port."""

    def __init__(self, port: int, token: str = "") -> None:
        self._url = f"http://{HOST}:{port}"
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def url(self, path: str) -> str:
        """Where an address is."""
        return f"{self._url}{path}"

    def get(self, path: str, **headers: str) -> httpx.Response:
        """Any address."""
        return httpx.get(self.url(path), headers=self._headers | headers, timeout=20)

    def metrics(self) -> Scrape:
        """/metrics; it has to answer."""
        answer = self.get("/metrics")
        assert answer.status_code == 200, answer.text
        return Scrape(answer.text)

    def ready(self) -> tuple[int, list[str]]:
        """/readyz: status and reasons."""
        answer = self.get("/readyz")
        body: dict[str, Any] = answer.json()
        assert body["ready"] == (answer.status_code == 200)
        return answer.status_code, body["reasons"]
