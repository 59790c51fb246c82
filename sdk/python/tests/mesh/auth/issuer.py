"""An issuer and a Mesh server in one, on a real socket: rotation, reuse detection, and every fault that is scripted."""

import base64
import contextlib
import hashlib
import http.server
import json
import secrets
import socket
import struct
import threading
import time
from urllib.parse import parse_qs, urlencode, urlsplit

from ..server import completion

DEVICE_GRANT = "urn:ietf:params:oauth:grant-type:device_code"


def b64(content):
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def jwt(**claims):
    return ".".join([b64(b'{"alg":"RS256"}'), b64(json.dumps(claims).encode()), b64(secrets.token_bytes(16))])


class Ask:
    """One request, and how to answer it."""

    def __init__(self, handler, method, body):
        self.handler, self.method = handler, method
        parts = urlsplit(handler.path)
        self.path = parts.path
        self.query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.headers = {name.lower(): value for name, value in handler.headers.items()}
        self.body = body
        is_form = "urlencoded" in self.headers.get("content-type", "")
        self.form = {name: values[0] for name, values in parse_qs(body.decode()).items()} if is_form else {}

    def answer(self, status=200, body=None, **headers):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.handler.send_response(status)
        for name, value in {"content-type": "application/json", "content-length": len(content), **headers}.items():
            self.handler.send_header(name.replace("_", "-"), str(value))
        self.handler.end_headers()
        self.handler.wfile.write(content)

    def error(self, error, status=400, **more):
        self.answer(status, {"error": error, **more})

    def hang_up(self):
        connection = self.handler.connection
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.handler.close_connection = True
        self.handler.rfile.close()
        self.handler.wfile.close()
        connection.close()


class Issuer:
    """Answers as RFC 6749, 7009, 7636 and 8628 say, unless `faults[path]` holds something else to do first."""

    def __init__(self):
        self.life, self.overlap = 3600.0, 0.0
        self.announced, self.metadata_extra = {}, {}
        self.decision = "pending"  # what the person says to the device code
        self.codes, self.families, self.access = {}, {}, {}
        self.faults, self.asked = {}, []
        self.refreshes, self.reuses, self.revoked, self.profiles = [], 0, [], 0
        self.omit_refresh = False
        self.give_refresh = True
        self.interval = 1
        self.lock = threading.RLock()
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def serve(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                issuer.serve(Ask(self, self.command, body))

            do_GET = serve  # noqa: N815 - the names that the base class calls
            do_POST = serve  # noqa: N815

            def log_message(self, *arguments):
                pass

        class Listening(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def __init__(self, *arguments):
                self.open = set()
                super().__init__(*arguments)

            def process_request(self, request, address):
                self.open.add(request)
                super().process_request(request, address)

            def shutdown_request(self, request):
                self.open.discard(request)
                super().shutdown_request(request)

            def handle_error(self, request, address):
                pass

        self._server = Listening(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def issuer(self):
        return self.url + "/"

    def close(self):
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self._server.open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)

    def fault(self, path, *things):
        """Let these answer the next requests to a path: functions of the request, or (status, body)."""
        self.faults.setdefault(path, []).extend(things)

    def requests(self, path):
        return [ask for ask in self.asked if ask.path == path]

    def serve(self, ask):
        with self.lock:
            self.asked.append(ask)
            waiting = self.faults.get(ask.path)
            fault = waiting.pop(0) if waiting else None
        if callable(fault):
            fault(ask)
            return
        if fault is not None:
            ask.answer(*fault)
            return
        name = {
            "/.well-known/openid-configuration": self.metadata,
            "/api/v1/auth/config": self.config,
            "/api/v1/auth/profile": self.profile,
            "/oauth/device/code": self.device,
            "/oauth/token": self.token,
            "/oauth/revoke": self.revoke,
            "/authorize": self.authorize,
        }.get(ask.path, self.mesh)
        name(ask)

    # --- the issuer ---

    def metadata(self, ask):
        endpoints = {"token": "oauth/token", "device_authorization": "oauth/device/code", "revocation": "oauth/revoke"}
        document = {f"{name}_endpoint": self.issuer + path for name, path in endpoints.items()}
        document |= {"issuer": self.issuer, "authorization_endpoint": self.issuer + "authorize"}
        document |= self.metadata_extra
        ask.answer(200, {name: value for name, value in document.items() if value is not None})

    def device(self, ask):
        code = secrets.token_urlsafe(8)
        self.codes[code] = ask.form
        page = self.issuer + "activate"
        ask.answer(
            200,
            {
                "device_code": code,
                "user_code": "ABCD-EFGH",
                "verification_uri": page,
                "verification_uri_complete": page + "?user_code=ABCD-EFGH",
                "expires_in": 900,
                "interval": self.interval,
            },
        )

    def authorize(self, ask):
        code = secrets.token_urlsafe(8)
        self.codes[code] = ask.query
        answer = {"code": code, "state": ask.query["state"]}
        if self.metadata_extra.get("authorization_response_iss_parameter_supported"):
            answer["iss"] = self.issuer
        ask.answer(302, b"", location=f"{ask.query['redirect_uri']}?{urlencode(answer)}")

    def token(self, ask):
        grant = ask.form.get("grant_type")
        with self.lock:
            if grant == "refresh_token":
                self._refresh(ask)
            elif grant == DEVICE_GRANT:
                self._poll(ask)
            elif grant == "authorization_code":
                self._exchange(ask)
            else:
                ask.error("unsupported_grant_type")

    def _poll(self, ask):
        if ask.form["device_code"] not in self.codes:
            ask.error("invalid_grant")
        elif self.decision == "approve":
            del self.codes[ask.form["device_code"]]
            ask.answer(200, self.grant(ask.form["client_id"]))
        else:
            error = {"pending": "authorization_pending", "deny": "access_denied", "expired": "expired_token"}
            ask.error(error[self.decision])

    def _exchange(self, ask):
        begun = self.codes.pop(ask.form["code"], None)
        verifier = ask.form.get("code_verifier", "").encode()
        given = {"code_challenge": b64(hashlib.sha256(verifier).digest()), "redirect_uri": ask.form["redirect_uri"]}
        if begun is None or any(begun[name] != value for name, value in given.items()):
            ask.error("invalid_grant")
        else:
            ask.answer(200, self.grant(ask.form["client_id"], nonce=begun["nonce"]))

    def _refresh(self, ask):
        presented = ask.form.get("refresh_token")
        family = next((f for f in self.families.values() if presented in f["tokens"]), None)
        if family is None or family["ended"]:
            ask.error("invalid_grant", 403, error_description="Unknown or invalid refresh token.")
            return
        superseded = family["tokens"][presented]
        if superseded is not None and time.monotonic() - superseded > self.overlap:
            family["ended"] = True
            self.reuses += 1
            ask.error("invalid_grant", 403)
            return
        self.refreshes.append(time.monotonic())
        answer = self.grant(family["client_id"], family=family)
        if superseded is None and not self.omit_refresh:
            family["tokens"][presented] = time.monotonic()
        ask.answer(200, answer)

    def grant(self, client_id, *, nonce=None, family=None):
        """Return tokens; of a family that is there, its successors."""
        if family is None:
            family = {"client_id": client_id, "tokens": {}, "ended": False}
            self.families[secrets.token_hex(4)] = family
        access = jwt(iss=self.issuer, aud="https://api", sub="user|1", jti=secrets.token_hex(4))
        self.access[access] = time.time() + self.life
        told = {"access_token": access, "token_type": "Bearer", "expires_in": self.life}
        if self.give_refresh and not (self.omit_refresh and family["tokens"]):
            told["refresh_token"] = "rt-" + secrets.token_urlsafe(16)
            family["tokens"][told["refresh_token"]] = None
        claims = {"iss": self.issuer, "aud": client_id, "sub": "user|1", "email": "ada@example.com"}
        told["id_token"] = jwt(**claims, **({} if nonce is None else {"nonce": nonce}))
        return told

    def revoke(self, ask):
        self.revoked.append(ask.form["token"])
        for family in self.families.values():
            if ask.form["token"] in family["tokens"]:
                family["ended"] = True
        ask.answer(200, b"")

    # --- the Mesh server ---

    def config(self, ask):
        told = {
            "success": True,
            "issuer": self.issuer,
            "domain": "tenant.example.com",
            "client_id": "client-1",
            "audience": "https://api",
            "flows": ["device", "browser"],
            "scope": "openid profile email offline_access",
        }
        ask.answer(200, {name: value for name, value in (told | self.announced).items() if value is not None})

    def accepts(self, ask):
        token = ask.headers.get("authorization", "").removeprefix("Bearer ")
        return self.access.get(token, 0) > time.time() or token.startswith(("mesh_", "given"))

    def profile(self, ask):
        self.profiles += 1
        self.mesh(ask)

    def mesh(self, ask):
        if not self.accepts(ask):
            error = {"code": "token_expired", "message": "The token has expired.", "type": "authentication_error"}
            ask.answer(401, {"success": False, "error": error, "request_id": "req_1"})
        elif ask.path.endswith("/chat/completions"):
            ask.answer(200, completion())
        elif ask.path.endswith("/auth/profile"):
            ask.answer(200, {"success": True, "id": "u1", "tenant": "default", "profile": {"id": "u1"}})
        else:
            ask.answer(200, {"success": True, "keys": [], "next_cursor": None})
