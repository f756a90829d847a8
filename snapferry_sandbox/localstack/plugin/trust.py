"""Sessions of roles assume another role only if it trusts them, which LocalStack doesn't ask.

An account's root may assume every role, as it may do everything else here; and so may LocalStack's
own services.
"""

import json
from typing import Any

from localstack.aws.api import CommonServiceException, RequestContext
from localstack.services.sts.provider import StsProvider
from localstack.utils.aws.arns import extract_account_id_from_arn
from localstack.utils.aws.request_context import extract_access_key_id_from_auth_header
from moto.iam.exceptions import NotFoundException
from moto.iam.models import iam_backends
from moto.sts.models import AssumedRole

from snapferry_sandbox.iam_policies import trusts
from snapferry_sandbox.localstack.plugin.identities import PARTITION, find_session


def patch() -> None:
    """Have LocalStack ask the role's trust policy."""
    assume_role = StsProvider.assume_role

    def assume_role_if_trusted(
        self: StsProvider,
        context: RequestContext,
        role_arn: str,
        role_session_name: str,
        external_id: str | None = None,
        **options: Any,
    ) -> Any:
        key = extract_access_key_id_from_auth_header(context.request.headers)
        caller = find_session(key) if key else None
        if caller and not _trusts(role_arn, caller, external_id):
            raise CommonServiceException(
                "AccessDenied",
                f"User: {caller.arn} is not authorized to perform: sts:AssumeRole on resource: "
                f"{role_arn}",
                403,
                True,
            )
        return assume_role(
            self, context, role_arn, role_session_name, external_id=external_id, **options
        )

    StsProvider.assume_role = assume_role_if_trusted


def _trusts(role_arn: str, caller: AssumedRole, external_id: str | None) -> bool:
    account = extract_account_id_from_arn(role_arn)
    try:
        role = iam_backends[account][PARTITION].get_role_by_arn(role_arn)
    except NotFoundException:
        return False
    own_account = extract_account_id_from_arn(caller.role_arn)
    principals = {caller.arn, caller.role_arn, own_account, f"arn:aws:iam::{own_account}:root"}
    keys = {"aws:PrincipalArn": caller.role_arn, "aws:PrincipalAccount": own_account}
    if external_id:
        keys["sts:ExternalId"] = external_id
    return trusts(json.loads(role.assume_role_policy_document), principals, keys)
