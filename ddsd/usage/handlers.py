"""The usage slice's jobs, by kind, and when they come by themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ddsd.jobs.runner import Handler
from ddsd.jobs.schedule import Cron, ScheduledJob
from ddsd.usage import monthly, quota, statistics

HANDLERS: Final[Mapping[str, Handler]] = {
    monthly.COLLECT_USAGE: monthly.collect_usage,
    quota.WATCH_QUOTAS: quota.watch_quotas,
    statistics.COLLECT_STATISTICS: statistics.collect_statistics,
}
# Every night, though there is something to do only once a month: what was missed is caught up with.
SCHEDULED: Final = (
    ScheduledJob(monthly.COLLECT_USAGE, Cron("10 3 * * *")),
    ScheduledJob(statistics.COLLECT_STATISTICS, Cron("40 3 * * *")),
    ScheduledJob(quota.WATCH_QUOTAS, Cron("25 * * * *")),
)
