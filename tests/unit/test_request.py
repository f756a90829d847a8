import copy
import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapferry import request
from snapferry.errors import InvalidInput
from snapferry.request import DomainJob, MigrationRequest, Window
from tests.unit.conftest import DOMAIN_AS_DESTINATION, MakeJob, document

ROOT = Path(__file__).parents[2]
SECRET_ARN = "arn:aws:secretsmanager:eu-west-1:222222222222:secret:snapferry/master-a1"
ROLE_ARN = "arn:aws:iam::111111111111:role/SnapferryDomainMaster"
ACCESS = {"role_arn": "arn:aws:iam::222222222222:role/SnapferryBucketAccess"}
NIGHTLY: dict[str, Any] = {"mode": "snapshot_only", "cutover__gates": []}
SCHEMA = json.loads((ROOT / "docs/input.schema.json").read_text())


def refusal(whole: Any, migration_id: str = "m-1") -> str:
    with pytest.raises(InvalidInput) as caught:
        request.parse(whole, migration_id)
    return str(caught.value)


def test_a_snapshot_of_a_series_is_named_after_it_and_the_time_in_utc() -> None:
    started_at = datetime.fromisoformat("2026-11-24T01:30:05.123+02:00")

    [job], _ = request.parse(document(**NIGHTLY, series={"name": "nightly"}), "m-1", started_at)

    assert job.snapshot(1) == "snapferry-nightly-20261123t233005z"


def without(whole: dict[str, Any], *place: str | int) -> dict[str, Any]:
    shorter = copy.deepcopy(whole)
    part: Any = shorter
    for name in place[:-1]:
        part = part[name]
    del part[place[-1]]
    return shorter


def with_domains(*changes: dict[str, Any]) -> dict[str, Any]:
    """Several domains, each like that of the shortest input but for its changes."""
    first = document()["domains"][0]
    return document() | {"domains": [first | change for change in changes]}


# (input, what names the field, what says how to write it instead)
MALFORMED = [
    pytest.param([], "input: ", "has to be an object", id="an array"),
    pytest.param(None, "input: ", "has to be an object", id="nothing"),
    pytest.param({}, "domains: this field is required", "for example [{", id="empty"),
    pytest.param(
        without(document(), "bucket"),
        "bucket: this field is required",
        "expected is the bucket through which",
        id="no bucket",
    ),
    pytest.param(
        without(document(), "destination", "secret_arn"),
        "destination: give secret_arn, of an internal user, or of an Amazon domain region",
        "missing of these: region, access_role_arn, snapshot_role_arn",
        id="no secret",
    ),
    pytest.param(
        document(destination=without(DOMAIN_AS_DESTINATION, "snapshot_role_arn")),
        "destination: give secret_arn",
        "missing of these: snapshot_role_arn",
        id="a domain as destination without a role for the bucket",
    ),
    pytest.param(
        document(destination=without(DOMAIN_AS_DESTINATION, "region")),
        "destination: give secret_arn",
        "missing of these: region",
        id="a domain as destination without its region",
    ),
    pytest.param(
        document(destination=DOMAIN_AS_DESTINATION | {"secret_arn": SECRET_ARN}),
        "destination: secret_arn is of any cluster but an Amazon domain",
        "region, access_role_arn, snapshot_role_arn of a domain alone: leave out",
        id="a domain as destination with a user",
    ),
    pytest.param(
        document(destination=DOMAIN_AS_DESTINATION | {"snapshot_role_arn": ROLE_ARN}),
        "destination: access_role_arn and snapshot_role_arn have to be of one account",
        "a role can't be passed across accounts",
        id="a domain as destination with a role of another account",
    ),
    pytest.param(
        document(
            destination=DOMAIN_AS_DESTINATION | {"reader_arn": ROLE_ARN}, bucket__access=ACCESS
        ),
        "destination: an Amazon domain reads the bucket as snapshot_role_arn",
        "leave reader_arn out",
        id="a domain as destination with another reader",
    ),
    pytest.param(
        document(destination=DOMAIN_AS_DESTINATION | {"dashboards_endpoint": "d.example.com"}),
        "destination: an Amazon domain has Dashboards below its endpoint",
        "leave dashboards_endpoint out",
        id="a domain as destination with Dashboards elsewhere",
    ),
    pytest.param(
        document(
            destination=DOMAIN_AS_DESTINATION
            | {"endpoint": "https://search-logs-abc.eu-west-1.es.amazonaws.com:443/"}
        ),
        "domains[0].host: 'search-logs-abc.eu-west-1.es.amazonaws.com' is a destination, too",
        "give destination.endpoint another cluster",
        id="a domain as its own destination",
    ),
    pytest.param(
        with_domains(
            {},
            {
                "host": "orders.example",
                "name": "orders",
                "destination": DOMAIN_AS_DESTINATION
                | {"endpoint": document()["domains"][0]["host"]},
            },
        ),
        "domains[0].host: 'search-logs-abc.eu-west-1.es.amazonaws.com' is a destination, too",
        "give destination.endpoint another cluster",
        id="a domain as the destination of another",
    ),
    pytest.param(
        without(
            with_domains(
                {"destination": DOMAIN_AS_DESTINATION},
                {"host": "orders.example", "name": "orders"},
            ),
            "destination",
        ),
        "domains[1].destination: nothing says where the indices go",
        "give destination, for all domains that name none themselves",
        id="no destination",
    ),
    pytest.param(
        with_domains(
            {},
            {
                "host": "orders.example",
                "name": "orders",
                "destination": document()["destination"] | {"secret_arn": SECRET_ARN},
            },
        ),
        "domains[0].destination: 'search.example.com:9200' is named by several domains with other",
        "give it the same ones everywhere",
        id="one destination in two ways",
    ),
    pytest.param(
        document(domain__destination=document()["destination"] | {"reader_arn": ROLE_ARN}),
        "domains[0].destination.reader_arn: nothing lets it read without bucket.access",
        "leave this field out",
        id="reader of a domain's destination without access",
    ),
    pytest.param(
        document(domain__destination={"endpoint": "search.example.com", "secret_arn": "x"}),
        "domains[0].destination.secret_arn: ",
        'for example "arn:aws:secretsmanager:',
        id="a domain's destination with a malformed secret",
    ),
    pytest.param(
        without(document(), "domains", 0, "snapshot_role_arn"),
        "domains[0].snapshot_role_arn: this field is required",
        'for example "arn:aws:iam::',
        id="no snapshot role",
    ),
    pytest.param(document(domains=[]), "domains: ", "at least one item", id="no domain"),
    pytest.param(document(domains={}), "domains: ", "has to be an array", id="domains no array"),
    pytest.param(
        document(domains=["logs"]), "domains[0]: ", "has to be an object", id="domain a string"
    ),
    pytest.param(
        with_domains(*({"host": f"h{number}.example"} for number in range(101))),
        "domains: ",
        "at most 100 items",
        id="101 domains",
    ),
    pytest.param(
        document(domain__hosst="x"),
        "domains[0].hosst: there is no such field",
        "did you mean 'host'?",
        id="typo",
    ),
    pytest.param(
        document(weather="fine"),
        "weather: there is no such field",
        "known are domains, bucket",
        id="unknown field",
    ),
    pytest.param(
        document(cutover__gate=["stop_writes"]),
        "cutover.gate: there is no such field",
        "did you mean 'gates'?",
        id="typo in cutover",
    ),
    pytest.param(
        document(cutover__window={"begins_at": "22:00", "end_at": "04:30"}),
        "cutover.window.end_at: there is no such field",
        "did you mean 'ends_at'?",
        id="typo in the window",
    ),
    pytest.param(
        document(cutover__window={"begins_at": "22:00", "ends_at": "4:30"}),
        "cutover.window.ends_at: ",
        'it may be after midnight, for example "04:30"',
        id="time without its zero",
    ),
    pytest.param(
        document(own="x"), "own: there is no such field", "known are domains", id="a tag's name"
    ),
    pytest.param(
        document(domain__host="http://search-logs.example"),
        "domains[0].host: only https is accepted",
        'for example "search-logs-abc',
        id="http",
    ),
    pytest.param(
        document(domain__host="https://admin:secret@search-logs.example"),
        "domains[0].host: credentials",
        "Secrets Manager",
        id="credentials in the address",
    ),
    pytest.param(
        document(domain__host="search-logs.example/_dashboards"),
        "domains[0].host: ",
        "give the host alone, without a path",
        id="host with a path",
    ),
    pytest.param(
        document(artifacts={"include": ["saved_objects"]}),
        "destination.dashboards_endpoint: needed because artifacts.include has saved_objects",
        "for example dashboards.example.com:5601",
        id="saved objects without Dashboards",
    ),
    pytest.param(
        document(destination__dashboards_endpoint="dashboards.example.com/a b"),
        "destination.dashboards_endpoint: a path is of letters",
        'for example "dashboards.example.com:5601"',
        id="Dashboards with a wrong path",
    ),
    pytest.param(
        document(destination__dashboards_endpoint="http://dashboards.example.com:5601"),
        "destination.dashboards_endpoint: only https is accepted",
        'for example "dashboards.example.com:5601"',
        id="Dashboards by http",
    ),
    pytest.param(
        document(domain__host="search logs"), "domains[0].host: ", "for example", id="no host"
    ),
    pytest.param(document(domain__host=""), "domains[0].host: ", "for example", id="empty host"),
    pytest.param(
        document(domain__host=7), "domains[0].host: ", "has to be a string", id="host a number"
    ),
    pytest.param(
        document(destination__endpoint="search.example.com:99999"),
        "destination.endpoint: the port",
        "up to 65535",
        id="port out of range",
    ),
    pytest.param(
        document(destination__endpoint="search.example.com:https"),
        "destination.endpoint: the port",
        "has to be a number",
        id="port a word",
    ),
    pytest.param(
        document(domain__region="Ireland"),
        "domains[0].region: ",
        'for example "eu-west-1"',
        id="region by its name",
    ),
    pytest.param(
        document(bucket__region=""), "bucket.region: ", 'for example "eu-west-1"', id="no region"
    ),
    pytest.param(
        document(domain__access_role_arn="arn:aws:iam::111111111111:user/me"),
        "domains[0].access_role_arn: ",
        ":role/",
        id="a user for a role",
    ),
    pytest.param(
        document(domain__snapshot_role_arn="arn:aws:iam::222222222222:role/SnapferrySnapshot"),
        "domains[0]: access_role_arn and snapshot_role_arn",
        "have to be of one account",
        id="roles of two accounts",
    ),
    pytest.param(
        document(domain__name="Logs"), "domains[0].name: ", 'for example "logs"', id="capital name"
    ),
    pytest.param(
        document(domain__name="l" * 41), "domains[0].name: ", 'for example "logs"', id="long name"
    ),
    pytest.param(
        document(domain__master_user={}),
        "domains[0].master_user: give either secret_arn",
        'for example {"role_arn": ',
        id="master user without a name",
    ),
    pytest.param(
        document(domain__master_user={"secret_arn": SECRET_ARN, "role_arn": ROLE_ARN}),
        "domains[0].master_user: give either secret_arn",
        "or role_arn, of an IAM master user",
        id="two master users",
    ),
    pytest.param(
        document(domain__master_user=ROLE_ARN),
        "domains[0].master_user: ",
        "has to be an object",
        id="master user a string",
    ),
    pytest.param(
        document(domain__master_user={"role_arn": "arn:aws:iam::111111111111:user/master"}),
        "domains[0].master_user.role_arn: ",
        ":role/",
        id="master user no role",
    ),
    pytest.param(
        document(domain__master_user={"secret_arn": "snapferry/master"}),
        "domains[0].master_user.secret_arn: ",
        'for example "arn:aws:secretsmanager:',
        id="master user's secret by its name",
    ),
    pytest.param(
        document(domain__master_user={"username": "admin", "password": "x"}),
        "domains[0].master_user.username: there is no such field",
        "known are secret_arn, role_arn",
        id="master user's password in the input",
    ),
    pytest.param(
        document(destination__master_user={"role_arn": ROLE_ARN}),
        "destination: master_user.role_arn is of Amazon domains alone",
        "give master_user.secret_arn",
        id="role as the destination's master user",
    ),
    pytest.param(
        document(destination__lift_restore_limits="yes"),
        "destination.lift_restore_limits: ",
        "has to be true or false",
        id="limits by a word",
    ),
    pytest.param(
        document(domain__replicas=-1),
        "domains[0].replicas: ",
        "greater than or equal to 0",
        id="negative replicas",
    ),
    pytest.param(
        document(domain__replicas="1"),
        "domains[0].replicas: ",
        "has to be a whole number",
        id="replicas a string",
    ),
    pytest.param(
        document(domain__indices={"include": [".kibana_1"]}),
        "domains[0].indices.include[0]: system indices",
        'for example ["logs-*", "orders"]',
        id="system index",
    ),
    pytest.param(
        document(domain__indices={"include": ["logs-*", "Orders"]}),
        "domains[0].indices.include[1]: ",
        "lower case",
        id="capital index",
    ),
    pytest.param(
        document(domain__indices={"exclude": ["-logs"]}),
        "domains[0].indices.exclude[0]: ",
        "doesn't start with -",
        id="exclusion in Elasticsearch's way",
    ),
    pytest.param(
        document(domain__indices={"include": []}),
        "domains[0].indices.include: ",
        "at least one item",
        id="nothing included",
    ),
    pytest.param(
        document(domain__indices="logs-*"),
        "domains[0].indices: ",
        "has to be an object",
        id="indices a string",
    ),
    pytest.param(
        document(domain__canonical_id="79A5"),
        "domains[0].canonical_id: ",
        "aws s3api list-buckets --query Owner.ID",
        id="canonical ID",
    ),
    pytest.param(
        document(bucket__access={}),
        "bucket.access.role_arn: this field is required",
        'for example "arn:aws:iam::',
        id="access without a role",
    ),
    pytest.param(
        document(bucket__access="SnapferryBucketAccess"),
        "bucket.access: ",
        "has to be an object",
        id="access a string",
    ),
    pytest.param(
        document(bucket__access=ACCESS | {"role": "x"}),
        "bucket.access.role: there is no such field",
        "did you mean 'role_arn'?",
        id="typo in access",
    ),
    pytest.param(
        document(bucket__access=ACCESS | {"way": "ACL"}),
        "bucket.access.way: ",
        "'automatic', 'policy' or 'acl'",
        id="unknown way",
    ),
    pytest.param(
        document(bucket__access=ACCESS | {"external_id": "a b"}),
        "bucket.access.external_id: ",
        'for example "company-migration"',
        id="external ID with a space",
    ),
    pytest.param(
        document(bucket__access=ACCESS | {"external_id": "a"}),
        "bucket.access.external_id: ",
        "at least 2 characters",
        id="short external ID",
    ),
    pytest.param(
        document(bucket__access=ACCESS | {"way": "acl"}),
        "domains[0].canonical_id: needed",
        "list-buckets --query Owner.ID",
        id="ACL without a canonical ID",
    ),
    pytest.param(
        document(destination__reader_arn="arn:aws:sts::1:assumed-role/x", bucket__access=ACCESS),
        "destination.reader_arn: ",
        'for example "arn:aws:iam::',
        id="reader a session",
    ),
    pytest.param(
        document(destination__reader_arn="arn:aws:iam::333333333333:role/SearchNodes"),
        "destination.reader_arn: ",
        "bucket.access",
        id="reader without access",
    ),
    pytest.param(
        document(bucket__name="Company_Migration"),
        "bucket.name: ",
        'for example "company-migration"',
        id="bucket's name",
    ),
    pytest.param(
        document(bucket__base_path="/snapferry"),
        "bucket.base_path: ",
        "without a leading, trailing or double slash",
        id="leading slash",
    ),
    pytest.param(
        document(domain__base_path="a/../b"),
        "domains[0].base_path: ",
        "must not hold . or ..",
        id="path upwards",
    ),
    pytest.param(
        document(bucket__base_path="a" * 513),
        "bucket.base_path: ",
        "at most 512 characters",
        id="long path",
    ),
    pytest.param(
        document(destination__secret_arn="snapferry/destination"),
        "destination.secret_arn: ",
        'for example "arn:aws:secretsmanager:',
        id="secret by its name",
    ),
    pytest.param(
        document(destination__repository_settings={"readonly": "false"}),
        "destination.repository_settings: readonly",
        "the migration sets it",
        id="a second writer",
    ),
    pytest.param(
        document(destination__repository_settings={"secret_key": "x"}),
        "destination.repository_settings: secret_key",
        "keystore",
        id="secret in the settings",
    ),
    pytest.param(
        document(destination__repository_settings={"client": 1}),
        "destination.repository_settings.client: ",
        "has to be a string",
        id="setting a number",
    ),
    pytest.param(
        document(cutover__rounds=0), "cutover.rounds: ", "greater than or equal to 1", id="no round"
    ),
    pytest.param(
        document(cutover__rounds=True),
        "cutover.rounds: ",
        "has to be a whole number",
        id="rounds a boolean",
    ),
    pytest.param(
        document(**NIGHTLY, series={"name": "Nightly"}),
        "series.name: ",
        "expected is the snapshots are named after it",
        id="upper case in a series",
    ),
    pytest.param(
        document(**NIGHTLY, series={"name": "n", "retention": {}}),
        "series.retention: ",
        "give count, age_days or both",
        id="empty retention",
    ),
    pytest.param(
        document(**NIGHTLY, series={"name": "n", "retention": {"count": 0}}),
        "series.retention.count: ",
        "greater than or equal to 1",
        id="nothing is retained",
    ),
    pytest.param(
        document(**NIGHTLY, series={"name": "n", "retention": {"days": 3}}),
        "series.retention.days: there is no such field",
        "did you mean 'age_days'?",
        id="typo in retention",
    ),
    pytest.param(
        document(series={"name": "n"}),
        "series: the mode is 'migrate'",
        "give mode: snapshot_only",
        id="series of migrations",
    ),
    pytest.param(
        document(mode="snapshot_only", series={"name": "n"}),
        "cutover.gates: nobody is there to approve the plan",
        '"cutover": {"gates": []}',
        id="series with a gate",
    ),
    pytest.param(
        document(cutover__gates=["lunch"]),
        "cutover.gates[0]: ",
        "'plan', 'stop_writes' or 'clients_moved'",
        id="unknown gate",
    ),
    pytest.param(
        document(cutover__gate_deadline_seconds=59),
        "cutover.gate_deadline_seconds: ",
        "greater than or equal to 60",
        id="deadline too short",
    ),
    pytest.param(
        document(snapshots_afterwards="burn"),
        "snapshots_afterwards: ",
        "'keep' or 'delete'",
        id="unknown end of the snapshots",
    ),
    pytest.param(
        document(domains_at_once=41),
        "domains_at_once: ",
        "less than or equal to 40",
        id="too many at once",
    ),
    pytest.param(
        with_domains({}, {"name": "other"}),
        "domains[0] and domains[1]: the same host",
        "name each domain once",
        id="a domain twice",
    ),
    pytest.param(
        with_domains({}, {"host": "SEARCH-logs-abc.eu-west-1.es.amazonaws.com:443", "name": "x"}),
        "domains[0] and domains[1]: the same host",
        "name each domain once",
        id="a domain twice in other words",
    ),
    pytest.param(
        with_domains({}, {"host": "other.example"}),
        "domains[0] and domains[1]: the same name 'logs'",
        "a name of its own",
        id="a name twice",
    ),
    pytest.param(
        with_domains(
            {"base_path": "a"}, {"host": "other.example", "name": "other", "base_path": "a"}
        ),
        "domains[0] and domains[1]: the same base_path 'a'",
        "a base_path of its own",
        id="a path twice",
    ),
    pytest.param(
        with_domains({}, {"host": "h.example", "name": "other", "base_path": "snapferry/logs"}),
        "domains[0] and domains[1]: the same base_path 'snapferry/logs'",
        "a base_path of its own",
        id="a path that is another domain's by default",
    ),
    pytest.param(
        with_domains(
            {"base_path": "a"}, {"host": "other.example", "name": "other", "base_path": "a/b"}
        ),
        "base_path 'a/b' lies inside 'a'",
        "a path outside the others'",
        id="a path inside another's",
    ),
]


@pytest.mark.parametrize(("whole", "field", "remedy"), MALFORMED)
def test_malformed_input_is_refused_by_field_and_remedy(
    whole: Any, field: str, remedy: str
) -> None:
    message = refusal(whole)

    assert field in message
    assert remedy in message


def test_every_problem_is_named_at_once() -> None:
    message = refusal(document(domain__region="x", bucket__name="X", cutover__rounds=51))

    assert [part.partition(": ")[0] for part in message.split("; ") if ": " in part] == [
        "domains[0].region",
        "bucket.name",
        "cutover.rounds",
    ]


@pytest.mark.parametrize("migration_id", ["", "a b", "a/b", "a.b", "ä", "a" * 81, "a\n"])
def test_an_execution_name_that_makes_no_snapshot_name_is_refused(migration_id: str) -> None:
    message = refusal(document(), migration_id)

    assert "the execution's name" in message
    assert "use at most 80 letters, digits, - and _" in message


@pytest.mark.parametrize(
    "changes",
    [
        {"domain__replicas": 0},
        {"domain__master_user": {"secret_arn": SECRET_ARN}},
        {"domain__master_user": {"role_arn": ROLE_ARN}},
        {"destination__master_user": {"secret_arn": SECRET_ARN}},
        {"destination": DOMAIN_AS_DESTINATION},
        {"destination": DOMAIN_AS_DESTINATION | {"master_user": {"role_arn": ROLE_ARN}}},
        {"destination": DOMAIN_AS_DESTINATION, "bucket__access": ACCESS},
        {"destination": DOMAIN_AS_DESTINATION, "artifacts": {"include": ["saved_objects"]}},
        {"destination__lift_restore_limits": False},
        {"domain__replicas": 20},
        {"domain__name": "l"},
        {"domain__name": "l" * 40},
        {"cutover__rounds": 50},
        {"cutover__gates": []},
        {"cutover__gate_deadline_seconds": 60},
        {"cutover__gate_deadline_seconds": 2_592_000},
        {"domains_at_once": 1},
        {"domains_at_once": 40},
        {"bucket__base_path": "a" * 512},
        {"bucket__region": "us-gov-west-1"},
        {"bucket__name": "a.b"},
        {"domain__access_role_arn": "arn:aws:iam::111111111111:role/path/to/Role+=,.@-_"},
        {"domain__indices": {"include": ["*"], "exclude": ["logs-*-old"]}},
        {"snapshots_afterwards": "delete"},
        {"bucket__access": ACCESS | {"external_id": "a" * 1224}},
        {"bucket__access": ACCESS | {"way": "acl"}, "domain__canonical_id": "0a" * 32},
        {
            "bucket__access": ACCESS,
            "destination__reader_arn": "arn:aws:iam::333333333333:user/path/reader",
        },
        {"bucket__access": ACCESS, "destination__reader_arn": "arn:aws:iam::333333333333:root"},
        NIGHTLY | {"series": {"name": "n" * 40, "retention": {"count": 1, "age_days": 3_650}}},
        NIGHTLY | {"series": {"name": "n", "retention": {"age_days": 1}}},
    ],
    ids=str,
)
def test_what_lies_on_the_edge_is_accepted(changes: dict[str, Any]) -> None:
    jobs, _ = request.parse(document(**changes), "m-1")

    assert len(jobs) == 1


def test_a_hundred_domains_are_accepted() -> None:
    whole = with_domains(*({"host": f"h{n}.example", "name": f"d{n}"} for n in range(100)))

    jobs, domains_at_once = request.parse(whole, "m-1")

    assert [job.domain.name for job in jobs] == [f"d{number}" for number in range(100)]
    assert domains_at_once == 4


def test_a_domain_may_have_a_destination_of_its_own() -> None:
    whole = with_domains({}, {"host": "orders.example", "name": "orders"})
    whole["domains"][1]["destination"] = DOMAIN_AS_DESTINATION

    jobs, _ = request.parse(whole, "m-1")

    assert [job.destination.endpoint for job in jobs] == [
        "search.example.com:9200",
        DOMAIN_AS_DESTINATION["endpoint"],
    ]
    # What is passed on says it once.
    assert {job.domain.destination for job in jobs} == {None}


@pytest.mark.parametrize(
    ("host", "endpoint", "name"),
    [
        (
            "search-logs-abc.eu-west-1.es.amazonaws.com",
            "search-logs-abc.eu-west-1.es.amazonaws.com",
            "search-logs-abc",
        ),
        ("https://Vpc-Logs.es.amazonaws.com/", "vpc-logs.es.amazonaws.com", "vpc-logs"),
        ("localhost:9200", "localhost:9200", "localhost-9200"),
        ("127.0.0.1:9200", "127.0.0.1:9200", "127-0-0-1-9200"),
        ("search.example:443", "search.example", "search"),
        (f"{'a' * 39}-{'b' * 20}.example", f"{'a' * 39}-{'b' * 20}.example", "a" * 39),
    ],
)
def test_a_domain_without_a_name_is_named_after_its_host(
    host: str, endpoint: str, name: str
) -> None:
    [job], _ = request.parse(document(domain__host=host, domain__name=""), "m-1")

    assert job.domain.host == endpoint
    assert job.domain.name == name


def test_names_and_paths_are_the_migrations_own(make_job: MakeJob) -> None:
    job = make_job()

    assert job.base_path == "snapferry/logs"
    assert job.repository == "snapferry-m-1-logs"
    assert job.snapshot(2) == "snapferry-m-1-logs-2"
    assert make_job(domain__base_path="a/b").base_path == "a/b"
    assert make_job(bucket__base_path="c").base_path == "c/logs"


def test_an_execution_name_in_capitals_makes_a_name_that_a_snapshot_may_have() -> None:
    [job], _ = request.parse(document(), "Monday-Night_2")

    assert job.snapshot(1) == "snapferry-monday-night_2-logs-1"


@pytest.mark.parametrize(
    ("way", "at_first"), [("automatic", "policy"), ("policy", "policy"), ("acl", "acl")]
)
def test_the_acl_is_used_at_first_only_where_that_is_wanted(
    make_job: MakeJob, way: str, at_first: str
) -> None:
    job = make_job(bucket__access=ACCESS | {"way": way}, domain__canonical_id="0a" * 32)

    assert job.way == at_first


def test_a_job_survives_its_way_through_the_state_machine(make_job: MakeJob) -> None:
    job = make_job(domain__indices={"exclude": ["a-*"]}, domain__replicas=2)

    travelled = json.loads(json.dumps(job.model_dump(mode="json")))

    assert DomainJob.model_validate(travelled) == job


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from([*MigrationRequest.model_fields, "host", "name", "x"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=8,
    )
)
def test_no_input_ends_in_anything_but_a_refusal_in_words(whole: Any) -> None:
    assert refusal(whole)


@pytest.mark.parametrize(("patterns", "fits"), [(10, True), (100, False)])
def test_a_hundred_domains_are_refused_only_where_states_cannot_pass_them_on(
    patterns: int, fits: bool
) -> None:
    whole = with_domains(
        *(
            {"host": f"search-logs-{number}.eu-west-1.es.amazonaws.com", "name": f"logs-{number}"}
            | {"indices": {"include": [f"logs-of-{name}-*" for name in range(patterns)]}}
            for number in range(100)
        )
    )

    if fits:
        jobs, _ = request.parse(whole, "m" * 80)
        assert len(jobs) == 100
    else:
        assert re.match(r"domains: .*take \d{6} bytes.*several migrations", refusal(whole))


def test_the_published_schema_is_the_models() -> None:
    assert MigrationRequest.model_json_schema() == SCHEMA


def test_the_published_schema_says_of_each_field_what_it_is() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for part in (SCHEMA, *SCHEMA["$defs"].values()):
        for name, field in part["properties"].items():
            assert "description" in field, name


@pytest.mark.parametrize(
    "path", sorted((ROOT / "events").glob("migrate-*.json")), ids=lambda path: path.stem
)
def test_the_inputs_in_events_fit_schema_and_models(path: Path) -> None:
    whole = json.loads(path.read_text())

    jsonschema.validate(whole, SCHEMA, cls=jsonschema.Draft202012Validator)
    request.parse(whole, "m-1")


@pytest.mark.parametrize(
    ("window", "time", "wait_seconds"),
    [
        (("09:00", "17:30"), "09:00:00", 0),
        (("09:00", "17:30"), "17:29:59", 0),
        (("09:00", "17:30"), "17:30:00", 15 * 3_600 + 30 * 60),
        (("09:00", "17:30"), "08:59:59", 1),
        # Over midnight
        (("22:00", "04:00"), "23:00:00", 0),
        (("22:00", "04:00"), "03:59:59", 0),
        (("22:00", "04:00"), "04:00:00", 18 * 3_600),
    ],
)
def test_a_window_says_how_long_it_takes_until_it_opens(
    window: tuple[str, str], time: str, wait_seconds: int
) -> None:
    begins_at, ends_at = window
    moment = datetime.fromisoformat(f"2026-11-24T{time}+00:00")

    assert Window(begins_at=begins_at, ends_at=ends_at).wait_seconds(moment) == wait_seconds


def guide(*entries: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """An input with the manual guide's own array as its domains."""
    entry = {
        "host": "search-logs-abc.eu-west-1.es.amazonaws.com",
        "region": "eu-west-1",
        "repository_api_endpoint": "source-repository",
        "snapshot_name": "snapshot-1",
        "s3_bucket_name": "company-migration",
        "s3_base_path": "4066e28c/logs",
        "s3_role_arn": "arn:aws:iam::111111111111:role/SnapshotRole",
    }
    return document(**changes) | {"domains": [entry | other for other in entries or ({},)]}


def test_the_guides_snapshot_is_the_one_that_is_restored() -> None:
    [named, newest], _ = request.parse(
        guide(
            {},
            {"snapshot_name": "", "host": "b.example", "s3_base_path": "b"},
            mode="restore_only",
        ),
        "m-1",
    )

    assert (named.snapshot(1), newest.snapshot(1)) == ("snapshot-1", "*")


def test_an_index_may_come_back_into_the_domain_that_its_snapshot_is_of() -> None:
    endpoint = document()["domains"][0]["host"]
    whole = document(
        mode="restore_only", destination=DOMAIN_AS_DESTINATION | {"endpoint": endpoint}
    )

    [job], _ = request.parse(whole, "m-1")

    assert job.domain.host == job.destination.endpoint == endpoint


def test_the_guides_own_array_is_taken() -> None:
    [job], _ = request.parse(guide(), "m-1")

    assert job.domain.name == "search-logs-abc"
    assert job.domain.snapshot_role_arn == "arn:aws:iam::111111111111:role/SnapshotRole"
    assert job.domain.access_role_arn == "arn:aws:iam::111111111111:role/SnapferryDomainAccess"
    assert job.base_path == "4066e28c/logs"


def test_the_guides_entries_take_what_our_own_do() -> None:
    options = {
        "name": "logs",
        "replicas": 0,
        "indices": {"include": ["logs-*"]},
        "access_role_arn": "arn:aws:iam::111111111111:role/Another",
    }

    [job], _ = request.parse(guide(options), "m-1")

    assert (job.domain.name, job.domain.replicas) == ("logs", 0)
    assert job.domain.indices.include == ("logs-*",)
    assert job.domain.access_role_arn == "arn:aws:iam::111111111111:role/Another"


@pytest.mark.parametrize(
    ("changes", "place", "remedy"),
    [
        ({"s3_bucket_name": "other"}, "domains[0].s3_bucket_name: ", "start one for each"),
        ({"s3_role_arn": "SnapshotRole"}, "domains[0].s3_role_arn: ", "SnapshotRole"),
        ({"s3_base_pth": "a"}, "domains[0].s3_base_pth: ", "did you mean 's3_base_path'?"),
        (
            {"access_role_arn": "arn:aws:iam::333333333333:role/Other"},
            "domains[0]: ",
            "access_role_arn and s3_role_arn have to be of one account",
        ),
    ],
)
def test_faults_of_the_guides_array(changes: dict[str, Any], place: str, remedy: str) -> None:
    message = refusal(guide(changes))

    assert message.startswith(place)
    assert remedy in message


def test_two_entries_of_the_guide_for_one_path() -> None:
    other = {"host": "search-orders-def.eu-west-1.es.amazonaws.com"}

    assert "two clusters that write to one path destroy" in refusal(guide({}, other))
