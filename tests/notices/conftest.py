"""The fixtures of the notices tests."""

from tests.mail.builders import new_services as new_services
from tests.mail.builders import sending as sending
from tests.mail.builders import services as services
from tests.parts.smtp import mail_server as mail_server
