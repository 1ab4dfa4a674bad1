"""How schemathesis signs in: as an administrator, and where an operation changes or ends its own caller as
somebody who is new again and again."""

import json
import os
import sys
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import schemathesis

CONTRACT = json.loads(os.environ["CHATHUB_CONTRACT"])
ON_ITSELF = (
    "updateProfile",
    "leave",
    "logout",
    "refreshSession",
    "endAllSessions",
    "endSession",
    "deleteAllConversations",
)


def is_on_itself(case: Any) -> bool:
    return case.operation.definition.raw["operationId"] in ON_ITSELF


@schemathesis.hook
def before_call(context: Any, case: Any, *ignored: Any) -> None:
    """The administrator must stay: ids of examples are also those that responses have shown."""
    parameters = case.path_parameters or {}
    if str(parameters.get("user_id")) == str(CONTRACT["id"]):
        parameters["user_id"] = 1


@schemathesis.auth(refresh_interval=2, cache_by_key=lambda case, context: str(is_on_itself(case)))
class Session:
    number = 0

    def get(self, case: Any, context: Any) -> str:
        token = self._token(CONTRACT["login"])
        if not is_on_itself(case):
            return token
        Session.number += 1
        name = f"newcomer{self.number}"
        account = {
            "username": name,
            "email": f"{name}@example.com",
            "password": CONTRACT["login"]["password"],
        }
        self._post("/api/auth/admin/register", account, token)
        return self._token(account)

    def set(self, case: Any, data: str, context: Any) -> None:
        case.headers["Authorization"] = f"Bearer {data}"

    def _token(self, account: dict[str, str]) -> str:
        login = {name: account[name] for name in ("username", "password")}
        return str(self._post("/api/auth/login", login)["token"])

    def _post(self, path: str, body: dict[str, str], token: str = "") -> Any:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {token}"}
        request = Request(CONTRACT["url"] + path, json.dumps(body).encode(), headers)
        try:
            with urlopen(request) as response:
                return json.load(response)
        except HTTPError as error:
            print(path, body.get("username"), error.code, error.read().decode(), file=sys.stderr)
            raise
