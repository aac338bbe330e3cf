"""Roles and their sessions: moto makes the credentials, and who may have them is decided here."""

import datetime
import secrets
import threading
import time
from dataclasses import dataclass, field

from moto.sts.models import STSBackend, sts_backends

from errors import Refusal

CHAINED_MOST = 3600


@dataclass
class Role:
    """What a test says of a role. Without an entry here there is no such role."""

    arn: str
    # Roles that may assume it.
    trusts: list = field(default_factory=list)
    external_id: str | None = None
    # Whether the trust allows sts:TagSession to them.
    tag_session: bool = True
    # The token of the ServiceAccount that may assume it: by web identity, or by Pod Identity, which tags the session.
    service_account: str | None = None
    # Sessions live so long, however long they were asked for.
    session_seconds: int = 3600
    # Session tokens have so many characters.
    token_length: int = 356
    # What its sessions may do: actions of EKS.
    allows: list = field(default_factory=lambda: ["DescribeCluster", "ListClusters"])
    # To its sessions AWS's clock is so much ahead.
    clock_ahead: float = 0

    @property
    def account(self):
        return self.arn.split(":")[4]


class Session:
    """A role's session: credentials that end."""

    def __init__(self, role, made, tagged):
        self.role, self.tagged = role, tagged
        self.arn, self.user_id, self.account = made.arn, made.user_id, made.account_id
        self.access_key, self.secret_key, self.token = made.access_key_id, made.secret_access_key, made.session_token
        # AWS tells whole seconds.
        self.ends = int(time.time() + role.clock_ahead + role.session_seconds)

    def expiration(self):
        return datetime.datetime.fromtimestamp(self.ends, datetime.timezone.utc)


ROLES, SESSIONS, LOCK = {}, {}, threading.RLock()
# What is known of the request that moto is answering on this thread.
ANSWERING = threading.local()
_assume_role = STSBackend.assume_role


def _made_by_moto(self, **asked):
    made = _assume_role(self, **asked)
    role = ROLES[asked["role_arn"]]
    made.session_token = made.session_token[:16] + secrets.token_urlsafe(role.token_length)[: role.token_length - 16]
    # The same for the same role, as AWS has it.
    session = Session(role, made, getattr(ANSWERING, "tagged", False))
    made.expiration = session.expiration().replace(tzinfo=None)
    SESSIONS[session.access_key] = session
    return made


STSBackend.assume_role = _made_by_moto


def define(said):
    """Makes a role or changes it; its sessions stay."""
    with LOCK:
        role = ROLES.setdefault(said["arn"], Role(said["arn"]))
        for key, value in said.items():
            setattr(role, key, value)


def session_of(access_key):
    """The session that has this key."""
    session = SESSIONS.get(access_key)
    if session is None:
        raise Refusal("InvalidClientTokenId", "The security token included in the request is invalid.")
    return session


def may_assume(caller, asked):
    """Refuses AssumeRole as trust policies do: without a word on which of their conditions does not hold."""
    arn, seconds = asked.get("RoleArn", ""), int(asked.get("DurationSeconds", 3600))
    role = ROLES.get(arn)

    def denied(action="sts:AssumeRole"):
        text = f"User: {caller.arn} is not authorized to perform: {action} on resource: {arn}"
        return Refusal("AccessDenied", text)

    if role is None or caller.role.arn not in role.trusts:
        raise denied()
    if role.external_id is not None and asked.get("ExternalId") != role.external_id:
        raise denied()
    if caller.tagged and not role.tag_session:
        raise denied("sts:TagSession")
    # The caller is a role's session itself.
    if seconds > CHAINED_MOST:
        text = "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining"
        raise Refusal("ValidationError", text, 400)


def may_assume_by_token(asked):
    """The same for AssumeRoleWithWebIdentity."""
    role = ROLES.get(asked.get("RoleArn", ""))
    if role is None or role.service_account is None:
        raise Refusal("AccessDenied", "Not authorized to perform sts:AssumeRoleWithWebIdentity")
    if asked.get("WebIdentityToken") != role.service_account:
        raise Refusal("InvalidIdentityToken", "The ID Token provided is not a valid JWT.", 400)


def log_in(arn, name):
    """A session of a role that nobody has assumed."""
    role = ROLES[arn]
    made = sts_backends[role.account]["aws"].assume_role(
        region_name="us-east-1", role_session_name=name, role_arn=role.arn,
        policy=None, duration=role.session_seconds, external_id=None,
    )
    return SESSIONS[made.access_key_id]


def pod_identity(token):
    """Credentials as the agent of Pod Identity hands them out: their sessions carry tags."""
    role = next((role for role in ROLES.values() if role.service_account == token), None)
    if role is None or not token:
        raise Refusal("AccessDeniedException", "Unauthorized: no association", 401)
    ANSWERING.tagged = True
    try:
        session = log_in(role.arn, "eks-pod-identity")
    finally:
        ANSWERING.tagged = False
    return {
        "AccessKeyId": session.access_key, "SecretAccessKey": session.secret_key, "Token": session.token,
        "Expiration": session.expiration().strftime("%Y-%m-%dT%H:%M:%SZ"), "AccountId": session.account,
    }
