"""Requests as botocore signs them: what moto believes without looking is checked here."""

import datetime
import hmac
from urllib.parse import parse_qsl

from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from errors import Refusal

EARLY, LATE = datetime.timedelta(minutes=5), datetime.timedelta(minutes=15)
UTC = datetime.timezone.utc


class Signed:
    """A signature, and what it is of."""

    def __init__(self, access_key, scope, date, names, signature, token, presigned):
        self.access_key, self.date, self.names = access_key, date, names
        self.region, self.service = scope
        self.signature, self.token, self.presigned = signature, token, presigned


def find(request):
    """The signature of a request, in its query or its headers; None if there is none."""
    query = dict(parse_qsl(request.query, keep_blank_values=True))
    if "X-Amz-Signature" in query:
        credential, names = query["X-Amz-Credential"], query["X-Amz-SignedHeaders"]
        date, signature, token = query["X-Amz-Date"], query["X-Amz-Signature"], query.get("X-Amz-Security-Token")
    elif request.header("authorization").startswith("AWS4-HMAC-SHA256 "):
        parts = dict(part.strip().split("=", 1) for part in request.header("authorization").split(" ", 1)[1].split(","))
        credential, names, signature = parts["Credential"], parts["SignedHeaders"], parts["Signature"]
        date, token = request.header("x-amz-date"), request.header("x-amz-security-token") or None
    else:
        return None
    access_key, _, region, service, _ = credential.split("/")
    presigned = "X-Amz-Signature" in query
    return Signed(access_key, (region, service), date, names.split(";"), signature, token, presigned)


def check(request, signed, secret_key, token, now):
    """Refuses a request that these credentials have not signed, or not about now."""
    code = "SignatureDoesNotMatch" if signed.service == "sts" else "InvalidSignatureException"
    at = datetime.datetime.strptime(signed.date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    now = datetime.datetime.fromtimestamp(now, UTC)
    here = now.strftime("%Y%m%dT%H%M%SZ")
    # STS judges a presigned request by this alone, whatever X-Amz-Expires says.
    if now - at > (LATE if signed.presigned else EARLY):
        raise Refusal(code, f"Signature expired: {signed.date} is now earlier than {here} (15 min.)")
    if at - now > EARLY:
        raise Refusal(code, f"Signature not yet current: {signed.date} is still later than {here} (5 min.)")
    if signed.token != token:
        raise Refusal("InvalidClientTokenId", "The security token included in the request is invalid")
    if not hmac.compare_digest(expected(request, signed, secret_key, token), signed.signature):
        raise Refusal(code, "The request signature we calculated does not match the signature you provided.")


def expected(request, signed, secret_key, token):
    """The signature that it should have."""
    query = "&".join(part for part in request.query.split("&") if not part.startswith("X-Amz-Signature="))
    headers = {name: request.header(name) for name in signed.names if name != "host"}
    url = f"https://{request.header('host')}{request.path}" + (f"?{query}" if query else "")
    again = AWSRequest(request.method, url, data=request.body, headers=headers)
    again.context["timestamp"] = signed.date
    kind = SigV4QueryAuth if signed.presigned else SigV4Auth
    auth = kind(Credentials(signed.access_key, secret_key, token), signed.service, signed.region)
    return auth.signature(auth.string_to_sign(again, auth.canonical_request(again)), again)
