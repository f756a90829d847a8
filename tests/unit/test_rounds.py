from snapferry import rounds
from tests.unit.conftest import Storage


def test_what_is_known_of_a_round_is_gathered(storage: Storage) -> None:
    for number in range(1, 12):
        rounds.note(storage.records, "logs", number, indices=number)
        rounds.note(storage.records, "logs", number, snapshot={"seconds": number})
        rounds.note(storage.records, "logs", number, restore={"seconds": 1})
    rounds.note(storage.records, "orders", 1, snapshot={"seconds": 5})

    assert rounds.copied(storage.records, "logs") == [
        {"round": number, "indices": number}
        | {"snapshot": {"seconds": number}, "restore": {"seconds": 1}}
        for number in range(1, 12)
    ]


def test_what_an_attempt_notes_again_takes_the_place_of_the_first(storage: Storage) -> None:
    rounds.note(storage.records, "logs", 1, snapshot={"seconds": 1})
    rounds.note(storage.records, "logs", 1, snapshot={"seconds": 2})

    assert rounds.copied(storage.records, "logs") == [{"round": 1, "snapshot": {"seconds": 2}}]


def test_a_round_without_a_snapshot_has_copied_nothing(storage: Storage) -> None:
    rounds.note(storage.records, "logs", 1, indices=2)

    assert rounds.copied(storage.records, "logs") == []
