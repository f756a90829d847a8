"""Which versions there are, and what they can read."""

import pytest

from snapferry.versions import Version, of_nodes, oldest_readable
from tests.unit.conftest import Side


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (136357827, "OpenSearch 2.14.0"),
        (136327827, "OpenSearch 2.11.0"),
        (137277827, "OpenSearch 3.6.0"),
        (135249827, "OpenSearch 1.3.20"),
        (7100299, "Elasticsearch 7.10.2"),
        (6082399, "Elasticsearch 6.8.23"),
        (5061699, "Elasticsearch 5.6.16"),
    ],
)
def test_an_id_is_decoded(number: int, expected: str) -> None:
    assert str(Version.of_id(number)) == expected


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        ("3.6.0", Version(True, 3, 6, 0)),
        ("1.3.20", Version(True, 1, 3, 20)),
        ("7.10.2", Version(False, 7, 10, 2)),
        ("6.8.0-SNAPSHOT", Version(False, 6, 8, 0)),
    ],
)
def test_a_node_says_what_it_is(number: str, expected: Version) -> None:
    assert Version.of_node(number) == expected


def test_versions_are_ordered_as_they_followed_each_other() -> None:
    numbers = ["6.8.23", "7.0.0", "7.10.2", "1.0.0", "1.3.20", "2.9.0", "2.19.4", "3.6.0"]
    versions = [Version.of_node(number) for number in numbers]

    assert sorted(versions) == versions


@pytest.mark.parametrize(
    ("index", "cluster", "readable"),
    [
        ("6.0.0", "1.3.20", True),
        ("5.6.16", "1.3.20", False),
        ("7.0.0", "2.19.4", True),
        ("6.8.0", "2.19.4", False),
        ("1.0.0", "2.0.0", True),
        ("2.0.0", "3.6.0", True),
        ("1.3.20", "3.6.0", False),
        ("7.10.2", "3.6.0", False),
        ("3.0.0", "4.0.0", True),
        ("2.19.4", "4.0.0", False),
    ],
)
def test_what_a_cluster_can_read(index: str, cluster: str, readable: bool) -> None:
    oldest = oldest_readable(Version.of_node(cluster))

    assert (Version.of_node(index) >= oldest) is readable


def test_the_nodes_are_asked_because_the_cluster_may_pretend(source: Side) -> None:
    source.cluster.node_versions = ["2.19.4", "1.3.20"]

    assert of_nodes(source.client) == [Version(True, 2, 19, 4), Version(True, 1, 3, 20)]
