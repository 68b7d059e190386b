"""The admin plane as an ASGI application. Every route is behind the door; a route added here is, too."""

from __future__ import annotations

from typing import Any, Final

from litestar import Litestar, Request, Router
from litestar.di import Provide
from litestar.exceptions import HTTPException

from ddsd import log
from ddsd.access import Operator
from ddsd.contract.words import API_VERSION
from ddsd.errors import DdsError
from ddsd.planes.admin import refusals
from ddsd.planes.admin.condition import Started
from ddsd.planes.admin.door import Door, operator_of
from ddsd.planes.admin.routes import (
    audit,
    invites,
    mails,
    projects,
    service,
    sessions,
    units,
    usage,
    users,
)
from ddsd.work import Services

MAX_BODY_BYTES: Final = 1024 * 1024

HANDLERS: Final = (
    service.show_status,
    service.show_store,
    service.show_revision,
    service.show_maintenance,
    service.set_maintenance,
    units.list_units,
    units.create_unit,
    units.show_unit,
    units.update_unit,
    usage.show_usage,
    usage.list_months,
    usage.collect_usage,
    usage.send_usage,
    usage.watch_quotas,
    usage.list_statistics,
    usage.collect_statistics,
    users.list_users,
    users.create_user,
    users.show_user,
    users.activate_user,
    users.deactivate_user,
    users.reset_second_factor,
    users.new_link,
    users.delete_user,
    invites.list_invites,
    invites.create_invite,
    invites.delete_invite,
    sessions.list_sessions,
    sessions.end_session,
    sessions.end_sessions,
    audit.list_entries,
    projects.list_projects,
    mails.list_mails,
    mails.show_mail,
    mails.list_samples,
    mails.show_sample,
)


def build(services: Services) -> Litestar:
    """Make the application. Serve it with :class:`ddsd.planes.admin.peer.PeerProtocol`, or it refuses everybody.

    Raises:
        ConfigurationError: the admin group does not exist.
    """
    started = Started(services.clock.now())
    return Litestar(
        [Router(f"/{API_VERSION}", route_handlers=HANDLERS)],
        guards=[Door.for_group(services.settings.listen.admin_group).admit],
        dependencies={
            "services": Provide(lambda: services, sync_to_thread=False),
            "started": Provide(lambda: started, sync_to_thread=False),
            "operator": Provide(_operator, sync_to_thread=False),
        },
        exception_handlers={
            DdsError: refusals.domain_error,
            HTTPException: refusals.http_error,
            Exception: refusals.bug,
        },
        request_max_body_size=MAX_BODY_BYTES,
        openapi_config=None,
        logging_config=None,
    )


def _operator(request: Request[Any, Any, Any]) -> Operator:
    operator = operator_of(request)
    log.acting_as(operator.label)
    return operator
