"""The fixtures of the jobs tests."""

from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from tests.mail.builders import new_services as new_services
from tests.mail.builders import sending as sending
from tests.mail.builders import services as services
from tests.parts.smtp import mail_server as mail_server


@pytest.fixture(autouse=True)
def _unrendered_log() -> Iterator[None]:
    """Keep structlog from drawing tracebacks, each of which takes a second."""
    with capture_logs():
        yield
