"""The web server: Streamlit's pages, and beside them the routes that log in and out.

The session lives in an HttpOnly cookie that scripts cannot read; pages resolve it on the server.
Started by ``python -m dashboards.server`` with TRLHF_RUN (run directory) and TRLHF_PORT.
"""

import os
import secrets
import sys
from html import escape
from pathlib import Path

from jinja2 import Environment, FileSystemLoader
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit.starlette import App

from dashboards.components.session import access_service, run_dir
from dashboards.components.words import sentence
from trading_rlhf.errors import AccessError, TradingRlhfError
from trading_rlhf.services.access import COOKIE, AccessService, Reviewer, TooManyAttemptsError
from trading_rlhf.services.results import report_path

__all__ = ["build_app", "main"]

_HERE = Path(__file__).parent
_FORM_COOKIE = "trlhf_form"
_TITLE = "Trade review"
_LONGEST_FORM = 10_000


class LoginRoutes:
    """The routes beside Streamlit's own; each answers with one clear sentence."""

    def __init__(self, run_dir: Path, access: AccessService) -> None:
        self._run_dir = run_dir
        self._access = access
        self._templates = Environment(loader=FileSystemLoader(_HERE), autoescape=True)

    def routes(self) -> list[Route]:
        """Return them for Starlette."""
        return [
            Route("/auth/login", self.login_form, methods=["GET"]),
            Route("/auth/login", self.log_in, methods=["POST"]),
            Route("/auth/logout", self.log_out, methods=["GET", "POST"]),
            Route("/run/report.html", self.report, methods=["GET"]),
        ]

    async def login_form(self, request: Request) -> Response:
        """Show the form, or go on to the pages when already logged in."""
        if await self._reviewer(request):
            return RedirectResponse("/", status_code=303)
        return self._form(request)

    async def log_in(self, request: Request) -> Response:
        """Check form, name and password; set the session cookie."""
        if int(request.headers.get("content-length") or _LONGEST_FORM) >= _LONGEST_FORM:
            return self._form(request, 413, "That form is too long.")
        form = await request.form()
        name, password, csrf = (str(form.get(key) or "") for key in ("name", "password", "csrf"))
        if not self._access.check_form(request.cookies.get(_FORM_COOKIE), csrf):
            return self._form(request, 403, "This form has expired. Please try again.", name)
        try:
            session = await run_in_threadpool(self._access.log_in, name, password)
        except TooManyAttemptsError as error:
            return self._form(request, 429, sentence(error), name)
        except AccessError as error:
            return self._form(request, 401, sentence(error), name)
        except TradingRlhfError as error:
            return self._form(request, 503, sentence(error), name)
        response = RedirectResponse("/", status_code=303)
        self._set_cookie(request, response, COOKIE, session.cookie, session.max_age, "/")
        response.delete_cookie(_FORM_COOKIE, path="/auth")
        return response

    async def log_out(self, request: Request) -> Response:
        """End the session on the server and in the browser; a mere link must not do that."""
        if request.method == "GET":
            return HTMLResponse("<p>Use the button on the page to log out.</p>", 405)
        form = await request.form()
        cookie, csrf = request.cookies.get(COOKIE), str(form.get("csrf") or "")
        try:
            await run_in_threadpool(self._access.log_out, cookie, csrf)
        except AccessError as error:
            return HTMLResponse(f"<p>{escape(sentence(error))}</p>", 403)
        response = RedirectResponse("/auth/login", status_code=303)
        response.delete_cookie(COOKIE, path="/")
        return response

    async def report(self, request: Request) -> Response:
        """Serve the run's report to those who are logged in, shut off from the session."""
        path = report_path(self._run_dir)
        if await self._reviewer(request) is None:
            return RedirectResponse("/auth/login", status_code=303)
        if path is None:
            return HTMLResponse("<p>This run has no report yet.</p>", 404)
        headers = {"Content-Security-Policy": "sandbox allow-scripts allow-downloads"}
        return FileResponse(path, media_type="text/html", headers=headers)

    async def _reviewer(self, request: Request) -> Reviewer | None:
        return await run_in_threadpool(self._access.reviewer, request.cookies.get(COOKIE))

    def _form(
        self, request: Request, status: int = 200, error: str = "", name: str = ""
    ) -> HTMLResponse:
        token, nonce = self._access.form_token(), secrets.token_urlsafe(16)
        page = self._templates.get_template("login.html").render(
            title=_TITLE, csrf=token, nonce=nonce, error=error, name=name
        )
        policy = (
            f"default-src 'none'; style-src 'nonce-{nonce}'; form-action 'self'; "
            "base-uri 'none'; frame-ancestors 'none'"
        )
        headers = {"Content-Security-Policy": policy, "Cache-Control": "no-store"}
        response = HTMLResponse(page, status, headers)
        self._set_cookie(request, response, _FORM_COOKIE, token, 3600, "/auth")
        return response

    @staticmethod
    def _set_cookie(
        request: Request, response: Response, name: str, value: str, max_age: int, path: str
    ) -> None:
        response.set_cookie(
            name,
            value,
            max_age=max_age,
            path=path,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )


class SafeHeaders:
    """Adds headers to every answer that keep pages out of foreign frames and types unguessed."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, adding headers to the start of each HTTP answer."""

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Content-Security-Policy", "frame-ancestors 'self'")
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "same-origin"
            await send(message)

        await self._app(scope, receive, send_safely if scope["type"] == "http" else send)


def build_app(run_dir: Path, access: AccessService) -> App:
    """Return the ASGI application of one run.

    Args:
        run_dir: ``runs/<name>``.
        access: who may log in to it.
    """
    return App(
        _HERE / "app.py",
        routes=LoginRoutes(run_dir, access).routes(),
        middleware=[Middleware(SafeHeaders)],
    )


def main() -> None:
    """Serve the run named by TRLHF_RUN until stopped; exits with 1 and a sentence on an error."""
    try:
        access = access_service()
        port = int(os.environ.get("TRLHF_PORT", "8501"))
    except (TradingRlhfError, ValueError) as error:
        sys.exit(f"The dashboard cannot start: {error}")
    build_app(run_dir(), access).run(config={"server.port": port, "server.address": "127.0.0.1"})


if __name__ == "__main__":
    main()
