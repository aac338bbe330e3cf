"""A stand-in for AWS: moto's STS and EKS, many accounts and regions, with what moto lacks.

- Signatures are checked, those of presigned requests too: see signature.py.
- Roles have trust rules, sessions end and may be short: see roles.py.
- Clusters have the endpoint, authority and status that a test says: see clusters.py.
- Faults, a call log, and an HTTPS server that answers nonsense: here.

`python standin` prints its address and answers until it is killed. A test's side is tests/testbed/aws.rs.
"""

import io
import json
import os
import ssl
import tempfile
import threading
import time
from urllib.parse import parse_qsl, unquote

from werkzeug.http import http_date
from werkzeug.serving import WSGIRequestHandler, make_server

import clusters
import presign
import roles
import signature
from errors import Refusal
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

LOG, FAULTS, LOCK = [], [], threading.Lock()
MOTO = DomainDispatcherApplication(create_backend_app)


class Request:
    """What came, read once."""

    def __init__(self, environ):
        self.environ = environ
        self.method, self.query = environ["REQUEST_METHOD"], environ.get("QUERY_STRING", "")
        self.path = environ.get("RAW_URI", environ["PATH_INFO"]).partition("?")[0]
        self.body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(self.body)

    def header(self, name):
        key = name.upper().replace("-", "_")
        return self.environ.get(key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}", "")

    def json(self):
        return json.loads(self.body or b"{}")


class Call:
    """A request to AWS, as the log shows it."""

    def __init__(self, request):
        self.request, self.signed = request, signature.find(request)
        self.form = {}
        if request.header("content-type").startswith("application/x-www-form-urlencoded"):
            self.form = dict(parse_qsl(request.body.decode("latin1"), keep_blank_values=True))
        elif self.signed and self.signed.presigned:
            self.form = dict(parse_qsl(request.query, keep_blank_values=True))
        self.service = "sts" if self.form.get("Action") else "eks"
        if self.service == "sts":
            self.operation, self.target = self.form["Action"], self.form.get("RoleArn", "")
            if self.signed and self.signed.presigned:
                self.operation, self.target = "Presigned" + self.operation, request.header("x-k8s-aws-id")
        else:
            self.operation, self.target = clusters.operation(request.method, unquote(request.path))
        self.session = roles.SESSIONS.get(self.signed.access_key) if self.signed else None
        self.role = self.session.role.arn if self.session else ""

    def now(self):
        """AWS's clock, as this caller sees it."""
        role = self.session.role if self.session else roles.ROLES.get(self.target)
        return time.time() + (role.clock_ahead if role else 0)

    def judge(self):
        """Refuses what AWS would refuse."""
        if self.operation == "AssumeRoleWithWebIdentity":
            return roles.may_assume_by_token(self.form)
        if self.signed is None:
            raise Refusal("MissingAuthenticationToken", "Request is missing Authentication Token")
        session = roles.session_of(self.signed.access_key)
        signature.check(self.request, self.signed, session.secret_key, session.token, self.now())
        if session.ends <= self.now():
            code = "ExpiredToken" if self.service == "sts" else "ExpiredTokenException"
            raise Refusal(code, "The security token included in the request is expired")
        if self.operation == "AssumeRole":
            roles.may_assume(session, self.form)
        elif self.service == "eks" and self.operation not in session.role.allows:
            text = f"User: {session.arn} is not authorized to perform: eks:{self.operation}"
            raise Refusal("AccessDeniedException", text)

    def failing(self):
        """The first fault that is meant for this call."""
        with LOCK:
            for fault in FAULTS:
                of = fault.get("of")
                if fault["operation"] != self.operation or (of and of not in (self.role, self.target)):
                    continue
                if fault["times"] is not None:
                    if fault["times"] == 0:
                        continue
                    fault["times"] -= 1
                return fault
        return None


def as_aws(request):
    """Status, headers and body."""
    call = Call(request)
    at, fault, code = time.time(), call.failing(), ""
    try:
        status, headers, body = broken(fault) or answered(call)
    except Refusal as refusal:
        code = refusal.code
        status, headers, body = refusal.answer(call.service, "json" in request.header("accept"))
    entry = {
        "at": at, "operation": call.operation, "role": call.role, "target": call.target, "status": status,
        "code": code, "region": call.signed.region if call.signed else "", "fault": fault is not None,
        "left": call.session.ends - call.now() if call.session else None,
    }
    with LOCK:
        LOG.append(entry)
    headers = [header for header in headers if header[0].lower() != "date"]
    return status, [*headers, ("Date", http_date(call.now()))], body


def broken(fault):
    """What a fault makes of a call; nothing if there is none, or it has only cost time."""
    if fault is None:
        return None
    time.sleep(fault["delay"])
    if fault["body"] is not None:
        return fault["status"], [("Content-Type", fault["content_type"])], fault["body"].encode()
    if fault["code"]:
        raise Refusal(fault["code"], fault["message"], fault["status"])
    return None


def answered(call):
    """What AWS answers."""
    call.judge()
    if call.signed and call.signed.presigned:
        return 200, [("Content-Type", "application/json")], json.dumps(presign.identity(call.session)).encode()
    # A session of a session has its tags.
    roles.ANSWERING.tagged = bool(call.session and call.session.tagged)
    return by_moto(call.request.environ)


def by_moto(environ):
    told = []
    body = b"".join(MOTO(environ, lambda status, headers, *_: told.extend([int(status.split()[0]), headers])))
    return told[0], told[1], body


def control(path, said):
    """What a test asks for."""
    if path == "role":
        return roles.define(said)
    if path == "cluster":
        return clusters.define(said)
    if path == "forget":
        return clusters.forget(said)
    if path == "fault":
        with LOCK:
            FAULTS[:] = [fault for fault in FAULTS if fault["id"] != said["id"]]
            if said.get("operation"):
                FAULTS.append(said)
        return None
    if path == "calls":
        with LOCK:
            return {"calls": LOG[said["since"]:], "next": len(LOG)}
    if path == "secrets":
        sessions = [session for session in list(roles.SESSIONS.values()) if session.role.arn in said["roles"]]
        return [secret for session in sessions for secret in (session.secret_key, session.token)]
    if path == "log-in":
        session = roles.log_in(said["role"], "person")
        return [session.access_key, session.secret_key, session.token]
    if path == "sign":
        return presign.token(said)
    if path == "nonsense":
        return nonsense(said)
    raise Refusal("NotFound", path, 404)


def nonsense(said):
    """An HTTPS server that has the same answer to everything; returns its port."""

    def always(environ, start):
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start(f"{said['status']} X", [("Content-Type", said["content_type"])])
        return [said["body"].encode()]

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("cert", "key"):
            with open(os.path.join(folder, name), "w", encoding="ascii") as file:
                file.write(said[name])
        context.load_cert_chain(os.path.join(folder, "cert"), os.path.join(folder, "key"))
    server = make_server("127.0.0.1", 0, always, threaded=True, request_handler=Quiet, ssl_context=context)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


def application(environ, start):
    request = Request(environ)
    try:
        if request.path.startswith("/_control/"):
            body = json.dumps(control(request.path.removeprefix("/_control/"), request.json())).encode()
            status, headers = 200, [("Content-Type", "application/json")]
        elif request.path == "/_pod_identity":
            body = json.dumps(roles.pod_identity(request.header("authorization"))).encode()
            status, headers = 200, [("Content-Type", "application/json")]
        else:
            status, headers, body = as_aws(request)
    except Refusal as refusal:
        status, headers, body = refusal.answer("sts", True)
    headers = [header for header in headers if header[0].lower() not in ("content-length", "connection")]
    start(f"{status} X", [*headers, ("Content-Length", str(len(body)))])
    return [body]


class Quiet(WSGIRequestHandler):
    """No line per request, and connections that are kept."""

    protocol_version = "HTTP/1.1"

    def log_request(self, *_):
        pass

    def send_response(self, code, message=None):
        # Without a Date of this machine's: ours is as AWS has it.
        self.send_response_only(code, message)


def main():
    server = make_server("127.0.0.1", 0, application, threaded=True, request_handler=Quiet)
    print(f"ready 127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
