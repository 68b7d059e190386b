"""A daemon like the real one, whose public plane is slow, stuck, talkative or broken on demand."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import structlog
from litestar import Litestar, Request, get, post

from ddsd import bootstrap, daemon, log, settings
from ddsd.secret import SecretText


@get("/slow")
async def slow() -> dict[str, str]:
    structlog.get_logger().info("slow.begun")
    await asyncio.sleep(2.0)
    return {"answer": "at last"}


@get("/stuck")
async def stuck() -> None:
    structlog.get_logger().info("stuck.begun")
    try:
        await asyncio.sleep(3600)
    finally:
        structlog.get_logger().info("stuck.rolled_back")


@post("/echo", status_code=200)
async def echo(request: Request[Any, Any, Any]) -> dict[str, int]:
    return {"size_bytes": len(await request.body())}


@get("/known")
async def known() -> None:
    log.acting_as("user ada")


@get("/broken")
async def broken(request: Request[Any, Any, Any]) -> None:
    password = request.headers["x-password"]
    held = SecretText(password)
    structlog.get_logger().info(
        "broken.begun", password=password, held=held, who={"code": password}
    )
    raise RuntimeError(f"no luck with password={password} {held}")


def tell(wrong: Exception, _scope: object) -> None:
    structlog.get_logger().error("request.failed", exc_info=wrong)


def main() -> None:
    configured = settings.load(Path(sys.argv[sys.argv.index("--config") + 1]))
    log.configure(configured.log.level, configured.log.format)
    public = Litestar(
        [slow, stuck, echo, known, broken],
        logging_config=None,
        openapi_config=None,
        after_exception=[tell],
        request_max_body_size=None,
    )
    admin = Litestar([slow], logging_config=None, openapi_config=None)
    daemon.run(bootstrap.build(configured), daemon.Planes(public, admin))


if __name__ == "__main__":
    main()
