"""Dashboards of a fake cluster: the stand-in of the sandbox, where the network begins."""

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from opensearchpy import OpenSearch
from opensearchpy.exceptions import OpenSearchException

from snapferry import artifacts
from snapferry.clients import _ExplainingTransport, _Serializer
from snapferry_sandbox.dashboards.saved_objects import API, SavedObjects
from tests.unit.fakes import Answer, Request, _FakeConnection


@dataclass
class FakeDashboards:
    """Dashboards, or Kibana.

    Attributes:
        saved: what it has.
        base_path: with which its paths begin.
        refusal: what it answers instead.
        requests: all that came.
    """

    saved: SavedObjects = field(default_factory=SavedObjects)
    base_path: str = ""
    refusal: Answer | OpenSearchException | None = None
    requests: list[Request] = field(default_factory=list)

    def client(self) -> OpenSearch:
        """The product's client."""
        return OpenSearch(
            hosts=[{"host": "dashboards.example", "port": 443}],
            connection_class=_FakeConnection,
            transport_class=_ExplainingTransport,
            cluster="Dashboards dashboards.example",
            serializer=_Serializer(),
            fake=self,
            max_retries=0,
        )

    def of(self, cluster: OpenSearch, *base_paths: str) -> artifacts.Dashboards:
        """Dashboards of a cluster, as the product asks it."""
        return artifacts.Dashboards(self.client(), cluster, base_paths or ("",))

    def add(self, saved_type: str, name: str, *references: str, **attributes: Any) -> None:
        """Saves an object of `<tenant>/<id>`; a reference is `<type>/<id>`."""
        tenant, _, saved_id = name.partition("/")
        pairs = [reference.split("/", 1) for reference in references]
        body = {
            "attributes": {"title": saved_id} | attributes,
            "references": [
                {"type": one, "id": other, "name": f"ref_{number}"}
                for number, (one, other) in enumerate(pairs)
            ],
        }
        status, _ = self.saved.answer(
            tenant,
            "POST",
            f"{saved_type}/{quote(saved_id, safe='')}",
            {"overwrite": ["true"]},
            {"osd-xsrf": "true"},
            json.dumps(body).encode(),
        )
        assert status == 200

    def names(self) -> set[str]:
        """What there is: `<type> <tenant>/<id>`."""
        return {
            f"{saved_type} {tenant}/{saved_id}"
            for tenant in ("global", "sales", "press")
            for saved_type, saved_id in self.saved.of(tenant)
        }

    def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        if isinstance(self.refusal, OpenSearchException):
            raise self.refusal
        if self.refusal:
            return self.refusal
        api = self.base_path + API
        if not request.path.startswith(api):
            return 400, {"error": f"no handler found for uri [{request.path}]"}
        return self.saved.answer(
            request.headers["securitytenant"],
            request.method,
            request.path.removeprefix(api),
            {name: [value] for name, value in request.parameters.items()},
            request.headers,
            request.body.encode() if request.body else b"",
        )
