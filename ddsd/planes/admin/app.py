"""The admin plane as an ASGI application. Every route is behind the door; a route added here is, too."""

from __future__ import annotations

from typing import Any, Final

from litestar import Litestar, Request, Router
from litestar.datastructures import MutableScopeHeaders
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.types import Message, Scope

from ddsd import __version__, log
from ddsd.access import Operator
from ddsd.contract.words import API_HEADER, API_VERSION, VERSION_HEADER
from ddsd.errors import DdsError
from ddsd.jobs.schedule import ScheduledJob
from ddsd.planes.admin import refusals
from ddsd.planes.admin.condition import PublicPlane, Started, Timetable
from ddsd.planes.admin.door import Door, operator_of
from ddsd.planes.admin.routes import (
    audit,
    invites,
    jobs,
    lifecycle,
    lost,
    mails,
    motds,
    projects,
    reminders,
    service,
    sessions,
    store_checks,
    stores,
    units,
    usage,
    users,
)
from ddsd.tls import Shown
from ddsd.work import Services

MAX_BODY_BYTES: Final = 1024 * 1024

HANDLERS: Final = (
    service.show_status,
    service.show_store,
    store_checks.check_store,
    store_checks.list_store_checks,
    service.show_revision,
    service.show_maintenance,
    service.set_maintenance,
    stores.list_stores,
    stores.show_policy,
    stores.set_credentials,
    stores.make_user,
    stores.rotate_keys,
    stores.migrate,
    stores.forget,
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
    users.put_email,
    users.new_link,
    users.delete_user,
    invites.list_invites,
    invites.create_invite,
    invites.delete_invite,
    invites.expire_invites,
    sessions.list_sessions,
    sessions.end_session,
    sessions.end_sessions,
    audit.list_entries,
    projects.list_projects,
    projects.show_project,
    motds.list_motds,
    motds.add_motd,
    motds.deactivate_motd,
    motds.send_motd,
    reminders.list_due,
    reminders.send_due,
    reminders.list_units,
    reminders.configure_unit,
    lifecycle.change_project,
    lifecycle.list_due,
    lifecycle.run_night,
    lifecycle.set_undo_days,
    jobs.list_jobs,
    jobs.show_job,
    jobs.run_job,
    jobs.retry_job,
    jobs.retry_failed_jobs,
    jobs.list_schedule,
    lost.list_findings,
    lost.compare,
    lost.clean,
    lost.make_buckets,
    lost.remove_bucket,
    lost.import_log,
    mails.list_mails,
    mails.show_mail,
    mails.resend_mail,
    mails.resend_failed_mails,
    mails.list_samples,
    mails.show_sample,
)


def build(
    services: Services,
    scheduled: tuple[ScheduledJob, ...] = (),
    shown: Shown | None = None,
) -> Litestar:
    """Make the application. Serve it with :class:`ddsd.planes.admin.peer.PeerProtocol`, or it refuses everybody.

    Args:
        services: what the routes work with.
        scheduled: the jobs that an operator may start by hand.
        shown: the public plane's certificate.

    Raises:
        ConfigurationError: the admin group does not exist.
    """
    started, timetable = Started(services.clock.now()), Timetable(scheduled)
    public = PublicPlane(shown)
    return Litestar(
        [Router(f"/{API_VERSION}", route_handlers=HANDLERS)],
        guards=[Door.for_group(services.settings.listen.admin_group).admit],
        dependencies={
            "services": Provide(lambda: services, sync_to_thread=False),
            "timetable": Provide(lambda: timetable, sync_to_thread=False),
            "started": Provide(lambda: started, sync_to_thread=False),
            "public": Provide(lambda: public, sync_to_thread=False),
            "operator": Provide(_operator, sync_to_thread=False),
        },
        exception_handlers={
            DdsError: refusals.domain_error,
            HTTPException: refusals.http_error,
            RecursionError: refusals.nesting,
            Exception: refusals.bug,
        },
        before_send=[_say_version],
        request_max_body_size=MAX_BODY_BYTES,
        openapi_config=None,
        logging_config=None,
    )


async def _say_version(message: Message, _scope: Scope) -> None:
    if message["type"] == "http.response.start":
        headers = MutableScopeHeaders.from_message(message)
        headers[VERSION_HEADER] = __version__
        headers[API_HEADER] = API_VERSION


def _operator(request: Request[Any, Any, Any]) -> Operator:
    operator = operator_of(request)
    log.acting_as(operator.label)
    return operator
