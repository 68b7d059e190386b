"""The log: structured lines on standard error, for people or for machines.

Invariant: no line shows a secret. Secret types print as ``***``; values under names such as
``password`` or ``token`` and credentials within texts are masked; tracebacks carry no local
variables. What the libraries log takes the same way out.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from functools import lru_cache
from typing import Any, Final, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from ddsd.settings import LogFormat

MASK: Final = "***"
_SECRET_WORDS: Final = frozenset(
    {"password", "token", "secret", "authorization", "private", "code", "cookie"}
)
_NO_SECRETS: Final = frozenset({"status_code", "exit_code", "error_code"})
_WORD: Final = re.compile(r"[A-Za-z][a-z]*|[A-Z]+")
_CREDENTIAL: Final = re.compile(
    r"""(?ix)
      (?P<scheme>\b(?:bearer|basic)\s+) [\w.~+/=-]{8,}
    | (?P<named>(?:password|token|secret|authorization|private_key|(?<!status\ )(?<!exit\ )\bcode)
                ["']?\s*[=:]\s*)
      (?:(?:bearer|basic)\s+)? (?: "[^"]*" | '[^']*' | [^\s,;&)}\]]+ )
    | (?P<address>\b[a-z][a-z0-9+.-]*://[^\s/:@]*:) [^\s/@]+ (?=@)
    """
)
_MAY_HOLD_CREDENTIAL: Final = re.compile(
    r"[=:\s]"
)  # a quick look that spares most texts the long one
_NEVER_CHATTY: Final = ("sqlalchemy", "aiosqlite", "httpx", "httpcore")
"""Their chat shows the values of statements, and signed links."""

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]  # frameworks type the three each in their way


def configure(level: str, form: LogFormat, stream: TextIO | None = None) -> None:
    """Send everything that is logged, ours and the libraries', to ``stream``.

    Args:
        level: ``debug``, ``info``, ``warning`` or ``error``. Libraries say only warnings and
            errors, except with ``debug``.
        form: one JSON object a line, or lines for people (coloured on a terminal).
        stream: ``None`` means standard error.
    """
    stream = stream or sys.stderr
    threshold = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*_shared(), *_rendering(form, stream)],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    _route_libraries(threshold, form, stream)


def acting_as(label: str) -> None:
    """Name who the present request or job acts for in all of its further log lines."""
    structlog.contextvars.bind_contextvars(actor=label)


class RequestLog:
    """ASGI middleware: one line for each request, and an id that is in its answer and its lines.

    The path is logged as it was sent (percent-encoded, so that it cannot forge lines), without the
    query. Whoever finds out who is asking says so with :func:`acting_as`.
    """

    def __init__(self, app: AsgiApp, plane: str) -> None:
        self._app = app
        self._log = structlog.get_logger(plane=plane)  # not bound: it follows changes of the level

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and log how it went."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        request_id = os.urandom(8).hex()
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-request-id", request_id.encode()),
                ]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            self._tell(scope, status, began)

    def _tell(self, scope: Scope, status: int, began: float) -> None:
        say = self._log.info if 0 < status < 500 else self._log.warning
        say(
            "request",
            method=scope["method"],
            path=scope.get("raw_path", b"").decode("ascii", "replace"),
            status=status or None,
            ms=round((time.perf_counter() - began) * 1000, 1),
        )


def mask_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace what must not be logged, by name and by look; a structlog processor."""
    for key, value in event.items():
        event[key] = MASK if _is_secret(key) else _masked(value)
    return event


def _masked(value: object) -> object:
    match value:
        case str() if not _MAY_HOLD_CREDENTIAL.search(value):
            return value
        case str():
            return _CREDENTIAL.sub(_keep_name, value)
        case bytes():
            return MASK
        case Mapping():
            return {k: MASK if _is_secret(str(k)) else _masked(v) for k, v in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_masked(one) for one in value]
        case bool() | int() | float() | None:
            return value
        case _:
            return _masked(str(value))


def _keep_name(found: re.Match[str]) -> str:
    return f"{found['scheme'] or found['named'] or found['address']}{MASK}"


@lru_cache(maxsize=1024)
def _is_secret(key: str) -> bool:
    if key in _NO_SECRETS:
        return False
    return any(word.lower() in _SECRET_WORDS for word in _WORD.findall(key))


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.format_exc_info,
        mask_secrets,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _rendering(form: LogFormat, stream: TextIO) -> list[Processor]:
    if form is LogFormat.JSON:
        return [structlog.processors.JSONRenderer(ensure_ascii=False)]
    return [structlog.dev.ConsoleRenderer(colors=stream.isatty(), pad_event_to=28)]


def _route_libraries(threshold: int, form: LogFormat, stream: TextIO) -> None:
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *_shared()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_rendering(form, stream),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO if threshold <= logging.DEBUG else max(threshold, logging.WARNING))
    logging.captureWarnings(True)
    for library in logging.Logger.manager.loggerDict.values():
        if isinstance(library, logging.Logger):
            library.handlers.clear()
            library.propagate = True
            library.setLevel(logging.NOTSET)
    for name in _NEVER_CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    # It tells of every new try at a store that is away; what came of it is told once, by whoever asked.
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
