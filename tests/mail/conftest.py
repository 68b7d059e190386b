"""The fixtures of the mail tests."""

from tests.mail.builders import clock as clock
from tests.mail.builders import database_url as database_url
from tests.mail.builders import new_services as new_services
from tests.mail.builders import sending as sending
from tests.mail.builders import services as services
from tests.parts.postgres import postgres_cluster as postgres_cluster
from tests.parts.postgres import postgres_url as postgres_url
from tests.parts.smtp import mail_server as mail_server
