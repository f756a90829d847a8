"""The table of the stack: items by migration and record, some of them written under a condition."""

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.service_resource import Table


def put_if(table: "Table", item: Mapping[str, Any], condition: str, **values: Any) -> bool:
    """Writes an item if a condition holds for what is there in its place.

    Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Expressions.ConditionExpressions.html

    Args:
        table: of the stack.
        item: with `migration_id` and `record`.
        condition: in which `#name` is an attribute and `:name` one of the values.
        values: what the condition compares with.

    Returns:
        Whether it held.
    """
    comparison: dict[str, Any] = {}
    if values:
        comparison["ExpressionAttributeValues"] = {f":{name}": values[name] for name in values}
    try:
        table.put_item(
            Item=item,
            ConditionExpression=condition,
            ExpressionAttributeNames={
                f"#{name}": name for name in re.findall(r"#(\w+)", condition)
            },
            **comparison,
        )
    except table.meta.client.exceptions.ConditionalCheckFailedException:
        return False
    return True


def get(table: "Table", migration_id: str, record: str) -> dict[str, Any] | None:
    """The item as it is now; None where there is none."""
    answer = table.get_item(
        Key={"migration_id": migration_id, "record": record}, ConsistentRead=True
    )
    return answer.get("Item")


def delete(table: "Table", migration_id: str, record: str) -> None:
    """Removes an item, if it is there."""
    table.delete_item(Key={"migration_id": migration_id, "record": record})


def query(table: "Table", migration_id: str, prefix: str) -> Iterator[dict[str, Any]]:
    """The items of a migration whose record begins so, as they are now."""
    return _query(table, migration_id, "begins_with(#record, :prefix)", {":prefix": prefix})


def between(table: "Table", migration_id: str, first: str, last: str) -> Iterator[dict[str, Any]]:
    """The items of a migration from one record to another, as they are now."""
    return _query(
        table, migration_id, "#record BETWEEN :first AND :last", {":first": first, ":last": last}
    )


def _query(
    table: "Table", migration_id: str, condition: str, values: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    start: dict[str, Any] = {}
    while True:
        answer = table.query(
            KeyConditionExpression=f"migration_id = :id AND {condition}",
            ExpressionAttributeNames={"#record": "record"},
            ExpressionAttributeValues={":id": migration_id, **values},
            ConsistentRead=True,
            **start,
        )
        yield from answer["Items"]
        if "LastEvaluatedKey" not in answer:
            return
        start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}
