"""The parts' fixtures, for the tests of the parts."""

from tests.parts.ports import stock_port as stock_port
from tests.parts.postgres import postgres_cluster as postgres_cluster
from tests.parts.postgres import postgres_url as postgres_url
from tests.parts.smtp import mail_server as mail_server
from tests.parts.stock_client import stock_client_binary as stock_client_binary
from tests.parts.stock_client import stock_client_of as stock_client_of
