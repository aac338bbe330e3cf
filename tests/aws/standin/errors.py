"""Refusals, in the form of the service that refuses."""

import json
from xml.sax.saxutils import escape


class Refusal(Exception):
    """What AWS answers instead of what was asked for."""

    def __init__(self, code, message, status=403):
        super().__init__(code)
        self.code, self.message, self.status = code, message, status

    def answer(self, service, as_json):
        """Status, headers and body. STS speaks XML unless it is asked for JSON; EKS names the code in a header."""
        request_id = ("x-amzn-RequestId", "00000000-0000-4000-8000-000000000000")
        if service == "eks":
            headers = [("Content-Type", "application/json"), ("x-amzn-ErrorType", self.code), request_id]
            return self.status, headers, json.dumps({"message": self.message}).encode()
        if as_json:
            error = {"Type": "Sender", "Code": self.code, "Message": self.message}
            return self.status, [("Content-Type", "application/json"), request_id], json.dumps({"Error": error}).encode()
        text = (
            f"<ErrorResponse><Error><Type>Sender</Type><Code>{escape(self.code)}</Code>"
            f"<Message>{escape(self.message)}</Message></Error></ErrorResponse>"
        )
        return self.status, [("Content-Type", "text/xml"), request_id], text.encode()
