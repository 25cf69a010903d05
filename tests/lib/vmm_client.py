# SPDX-License-Identifier: BSD-3-Clause
# A client of insula-vmm's API that believes nothing: every answer is held against openapi.yaml.
import contextlib
import http.client
import json
import os
import socket

import jsonschema
import yaml

FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "vmm", "openapi.yaml")
SECONDS = 30


class Wrong(Exception):
    """An answer that the file does not have."""


class Specification:
    def __init__(self):
        with open(FILE, encoding="utf-8") as f:
            self.whole = yaml.safe_load(f)
        self.resolver = jsonschema.RefResolver("", self.whole)
        self.seen = set() # (path of the file, method, status)

    def _resolved(self, thing):
        return self.resolver.resolve(thing["$ref"])[1] if "$ref" in thing else thing

    def _template(self, path):
        parts = path.split("/")
        for template in self.whole["paths"]:
            words = template.split("/")
            if len(words) == len(parts) and all(
                    word == part or (word.startswith("{") and part)
                    for word, part in zip(words, parts)):
                return template
        return None

    def everything(self):
        """All that the file says the server may answer."""
        return {(path, method.upper(), int(status))
                for path, methods in self.whole["paths"].items()
                for method, operation in methods.items() if method != "parameters"
                for status in operation["responses"]}

    def methods(self, path):
        return {method.upper() for method in self.whole["paths"][path] if method != "parameters"}

    def check(self, method, path, status, body):
        template = self._template(path.split("?")[0])
        wanted = {"$ref": "#/components/schemas/Error"}
        if template is None and status != 404:
            raise Wrong(f"{method} {path}: {status}, but the file has no such path")
        if template and method not in self.methods(template) and status != 405:
            raise Wrong(f"{method} {path}: {status}, but the file has no such method")
        if template and method in self.methods(template):
            responses = self.whole["paths"][template][method.lower()]["responses"]
            if str(status) not in responses:
                raise Wrong(f"{method} {path}: {status} is not among {sorted(responses)}: {body}")
            self.seen.add((template, method, status))
            content = self._resolved(responses[str(status)]).get("content")
            wanted = content and content["application/json"]["schema"]
        if wanted is None:
            if body is not None:
                raise Wrong(f"{method} {path}: {status} has a body: {body}")
            return
        jsonschema.Draft4Validator(wanted, resolver=self.resolver).validate(body)


class Connection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=SECONDS)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(SECONDS)
        self.sock.connect(self.path)


class Api:
    def __init__(self, path, specification=None):
        self.path, self.specification = path, specification or Specification()

    def ask(self, method, path, body=None):
        """The status, and the answer's JSON (None: no body)."""
        connection = Connection(self.path)
        try:
            if body is not None and not isinstance(body, (bytes, str)):
                body = json.dumps(body)
            with contextlib.suppress(BrokenPipeError): # answered before all was sent
                connection.request(method, path, body)
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        if data and answer.getheader("Content-Type") != "application/json":
            raise Wrong(f"{method} {path}: {answer.getheader('Content-Type')}")
        if answer.status == 405 and not answer.getheader("Allow"):
            raise Wrong(f"{method} {path}: no header Allow")
        told = json.loads(data) if data else None
        self.specification.check(method, path, answer.status, told)
        return answer.status, told

    def hand(self, name, fd):
        """Gives the machine a descriptor that it cannot open."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.connect(self.path + ".fds")
            socket.send_fds(s, [name.encode()], [fd])

    def info(self):
        return self.ask("GET", "/v1/info")[1]

    def metrics(self):
        return self.ask("GET", "/v1/metrics")[1]

    def put(self, path, body=None):
        return self.ask("PUT", path, body)
