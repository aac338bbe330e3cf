"""Tokens for EKS clusters: what STS says of one, and how a test makes a good or a bad one."""

import base64
import datetime

from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

import roles


def identity(session):
    """What a presigned GetCallerIdentity is answered with."""
    result = {"Account": session.account, "Arn": session.arn, "UserId": session.user_id}
    return {"GetCallerIdentityResponse": {"GetCallerIdentityResult": result}}


def token(said):
    """A token of the role's newest session, signed by botocore: in all as `aws eks get-token` makes it, but for what the
    test asks otherwise."""
    session = [session for session in list(roles.SESSIONS.values()) if session.role.arn == said["role"]][-1]
    headers = {"x-k8s-aws-id": said["cluster"], **said.get("headers", {})}
    host = said.get("host") or f"sts.{said['region']}.amazonaws.com"
    request = AWSRequest("GET", f"https://{host}/?Action=GetCallerIdentity&Version=2011-06-15", headers=headers)
    auth = SigV4QueryAuth(
        Credentials(session.access_key, session.secret_key, session.token), "sts", said["region"], expires=60
    )
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=said.get("seconds", 0))
    request.context["timestamp"] = at.strftime("%Y%m%dT%H%M%SZ")
    auth._modify_request_before_signing(request)
    string = auth.string_to_sign(request, auth.canonical_request(request))
    auth._inject_signature_to_request(request, auth.signature(string, request))
    return "k8s-aws-v1." + base64.urlsafe_b64encode(request.url.encode()).decode().rstrip("=")
