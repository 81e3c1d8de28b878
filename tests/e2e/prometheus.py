"""A real Prometheus, as a process of a test."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import treq
import yaml
from attrs import define
from twisted.internet.error import ConnectError

from tests.e2e.balancing import Process
from tests.e2e.nodes import PATIENCE_S, until
from tests.twistd_command import ROOT

#: The pause between two refreshes of targets, and between two scrapes. Prometheus uses new targets every 5 s.
REFRESH_S = "200ms"


def program(name: str) -> str:
    """Return the path of the machine's `prometheus` or `promtool`, or else of the one from `make test-deps`."""
    return shutil.which(name) or str(ROOT / f".deps/debian/usr/bin/{name}")


@define(eq=False)
class Prometheus(Process):
    """A Prometheus with its configuration and database in a folder."""

    port: int = 0

    async def start(self, configuration: dict[str, Any]) -> None:
        """Start it, and wait until it is ready."""
        file = self.folder / f"{self.name}.yml"
        file.write_text(yaml.safe_dump(configuration))
        self.run(
            program("prometheus"),
            f"--config.file={file}",
            f"--storage.tsdb.path={self.folder / self.name}",
            f"--web.listen-address=127.0.0.1:{self.port}",
        )
        await until(f"{self.name} is ready", self._is_ready, details=lambda: self.output)

    async def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.output
        with suppress(ConnectError):
            response = await treq.get(f"{self._url}/-/ready", persistent=False, timeout=PATIENCE_S)
            await response.content()
            return bool(response.code == 200)
        return False

    @property
    def _url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def ask(self, path: str, **query: str) -> Any:
        """Return the `data` of an answer of Prometheus's API."""
        url = f"{self._url}/api/v1/{path}?{urlencode(query)}"
        response = await treq.get(url, persistent=False, timeout=PATIENCE_S)
        answer = json.loads(await response.content())
        assert answer["status"] == "success", answer
        return answer["data"]

    async def targets(self, job: str) -> dict[str, dict[str, str]]:
        """Return the labels of the targets of a job, by their addresses."""
        active = (await self.ask("targets", state="active"))["activeTargets"]
        return {each["discoveredLabels"]["__address__"]: each["labels"] for each in active if each["scrapePool"] == job}

    async def scraped(self, job: str, address: str) -> str:
        """Return the URL that Prometheus scrapes for a target of a job."""
        active = (await self.ask("targets", state="active"))["activeTargets"]
        (url,) = (
            str(each["scrapeUrl"])
            for each in active
            if (each["scrapePool"], each["discoveredLabels"]["__address__"]) == (job, address)
        )
        return url

    async def until_targets(self, job: str, *addresses: str) -> None:
        """Wait until a job has exactly these targets."""
        found: set[str] = set()

        async def has_them() -> bool:
            nonlocal found
            found = {*await self.targets(job)}
            return found == {*addresses}

        await until(f"{job} has {addresses}", has_them, details=lambda: str(found))

    async def values(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Return the labels and the value of each series of an expression."""
        result = (await self.ask("query", query=expression))["result"]
        return [(each["metric"], float(each["value"][1])) for each in result]

    async def firing(self) -> set[str]:
        """Return the names of the alerts that fire. No label or annotation may be incomplete."""
        alerts = [each for each in (await self.ask("alerts"))["alerts"] if each["state"] == "firing"]
        texts = [text for alert in alerts for text in alert["annotations"].values()]
        assert not [text for text in texts if "<" in text or "  " in text], texts
        return {each["labels"]["alertname"] for each in alerts}


def http_sd(url: str, **more: Any) -> list[dict[str, Any]]:
    """Return the part of a job that asks a node for targets."""
    return [{"url": url, "refresh_interval": REFRESH_S, **more}]


def with_jobs(jobs: dict[str, dict[str, Any]], **more: Any) -> dict[str, Any]:
    """Return a configuration with these jobs."""
    return {
        "global": {"scrape_interval": REFRESH_S, "scrape_timeout": REFRESH_S, "evaluation_interval": REFRESH_S},
        "scrape_configs": [{"job_name": name, **job} for name, job in jobs.items()],
        **more,
    }


def yaml_blocks(page: Path) -> list[Any]:
    """Return the decoded blocks of YAML in a page."""
    blocks = page.read_text("utf-8").split("```yaml\n")[1:]
    return [yaml.safe_load(block.partition("```")[0]) for block in blocks]
