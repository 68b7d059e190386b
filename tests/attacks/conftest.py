"""Daemons in processes of their own, as the daemon's own tests have them."""

from tests.daemon.conftest import furnished as furnished
from tests.daemon.conftest import place as place
from tests.daemon.conftest import start as start
