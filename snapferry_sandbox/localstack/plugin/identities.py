"""`GET /_snapferry/identities/<access key id>`: whose a key is, and the secret that goes with it.

For what stands in front of the sandbox's domains and buckets, to verify signatures as AWS does.
"""

import datetime

from localstack.aws.accounts import get_account_id_from_access_key_id
from localstack.http import Request, Response
from localstack.services.edge import ROUTER
from moto.iam.models import iam_backends
from moto.sts.models import AssumedRole, sts_backends

PARTITION = "aws"


def add_route() -> None:
    """Make LocalStack answer that path, and without a key at its end with all roles' sessions."""
    ROUTER.add("/_snapferry/identities", _answer_sessions, methods=["GET"])
    ROUTER.add("/_snapferry/identities/<access_key_id>", _answer, methods=["GET"])


def find_session(access_key_id: str) -> AssumedRole | None:
    """Return the session of a role whose key it is; None if it is another's."""
    account = get_account_id_from_access_key_id(access_key_id)
    return sts_backends[account][PARTITION].get_assumed_role_from_access_key(access_key_id)


def _answer(_: Request, access_key_id: str) -> Response:
    identity = _find(access_key_id)
    return Response.for_json(identity, status=404 if identity is None else 200)


def _answer_sessions(_: Request) -> Response:
    sessions = [
        _of_session(account, role)
        for account, backends in sts_backends.items()
        for role in backends[PARTITION].assumed_roles
    ]
    return Response.for_json(sessions)


def _find(access_key_id: str) -> dict[str, str | None] | None:
    account = get_account_id_from_access_key_id(access_key_id)
    role = find_session(access_key_id)
    if role:
        return _of_session(account, role)
    user = iam_backends[account][PARTITION].get_user_from_access_key_id(access_key_id)
    if user:
        return {
            "account": account,
            "arn": user.arn,
            "secret_access_key": user.get_access_key_by_id(access_key_id).secret_access_key,
            "session_token": None,
            "expires_at": None,
        }
    return None


def _of_session(account: str, role: AssumedRole) -> dict[str, str | None]:
    return {
        "account": account,
        "arn": role.arn,
        "secret_access_key": role.secret_access_key,
        "session_token": role.session_token,
        "expires_at": role.expiration.replace(tzinfo=datetime.UTC).isoformat(),
    }
