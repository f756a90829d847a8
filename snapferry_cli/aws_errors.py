"""Turns what boto3 raises into errors whose text says what to do."""

from botocore import exceptions

from snapferry.errors import AccessDenied, InvalidInput, RequestRefused, SnapferryError, Unavailable

_LOG_IN = (
    "log in (`aws sso login`, `aws configure`, or the variables AWS_ACCESS_KEY_ID and "
    "AWS_SECRET_ACCESS_KEY), or choose another identity with --profile"
)
_NO_CREDENTIALS = (
    exceptions.NoCredentialsError,
    exceptions.PartialCredentialsError,
    exceptions.CredentialRetrievalError,
    exceptions.SSOError,
    exceptions.TokenRetrievalError,
)
_REFUSED_CREDENTIALS = {
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}


def explain(error: exceptions.BotoCoreError | exceptions.ClientError) -> SnapferryError:
    """Says of an error of AWS what it means and what to do.

    Source: https://docs.aws.amazon.com/step-functions/latest/apireference/CommonErrors.html
    """
    match error:
        case exceptions.ProfileNotFound():
            return InvalidInput(f"{error}. What to do: `aws configure list-profiles` names them.")
        case exceptions.NoRegionError():
            return InvalidInput(
                "no region is set. What to do: give --region, or set AWS_REGION or the region of "
                "the profile."
            )
        case exceptions.InvalidRegionError():
            return InvalidInput(f"{error}. What to do: check --region.")
        case _ if isinstance(error, _NO_CREDENTIALS):
            return AccessDenied(f"no credentials for AWS: {error}. What to do: {_LOG_IN}.")
        case exceptions.ConnectionError() | exceptions.HTTPClientError():
            return Unavailable(
                f"AWS can't be reached: {error}. What to do: check --region and the network; "
                "AWS_ENDPOINT_URL, if set, has to be right."
            )
        case exceptions.ClientError():
            return _explain_answer(error)
    return RequestRefused(str(error))


def _explain_answer(error: exceptions.ClientError) -> SnapferryError:
    code = error.response["Error"]["Code"]
    if code in _REFUSED_CREDENTIALS:
        return AccessDenied(f"AWS refuses the credentials: {error}. What to do: {_LOG_IN}.")
    if code in _DENIED:
        return AccessDenied(
            f"{error}. What to do: attach the policy that the stack's output OperatorPolicyArn "
            "names, or choose another identity with --profile."
        )
    return RequestRefused(str(error))
