"""What tests say to the stock client against a running demo, and how they read what it answers."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.instance import Instance
from tests.parts.stock_client import Outcome, StockClient

PASSWORD = "password"


@dataclass
class LoggedIn:
    """A client that is logged in, once, for each person who is named."""

    demo: Instance
    binary: Path
    homes: Path
    clients: dict[str, StockClient] = field(default_factory=dict)

    def __call__(self, person: str) -> StockClient:
        """Return the person's client."""
        if person not in self.clients:
            client = StockClient(self.binary, self.homes / person)
            login = client.login(person, PASSWORD, lambda: self.demo.code_of(person))
            assert login.exit_code == 0, login.output
            self.clients[person] = client
        return self.clients[person]


def succeeded(outcome: Outcome, *said: str) -> str:
    """Return the output in one line, in which each of ``said`` must be."""
    text = one_line(outcome)
    assert outcome.exit_code == 0, text
    for sentence in said:
        assert sentence in text, text
    return text


def refused(outcome: Outcome, *said: str) -> None:
    """Check that the client has failed, and said why."""
    text = one_line(outcome)
    assert outcome.exit_code == 1, text
    assert "Traceback" not in text, text
    for sentence in said:
        assert sentence in text, text


def one_line(outcome: Outcome) -> str:
    """Return the output without the folding of long lines."""
    return " ".join(outcome.output.split())


def mails_to(demo: Instance, address: str) -> list[str]:
    """Return the subjects of the letters to an address, oldest first."""
    letters = [one for one in demo.ctl("mail", "ls") if one["recipient"] == address]
    return [one["subject"] for one in sorted(letters, key=lambda one: int(one["id"]))]


def row_of(outcome: Outcome, name: str) -> list[str]:
    """Return the cells of the row of a table that has ``name`` in it."""
    row = next(line for line in outcome.output.splitlines() if name in line)
    return [cell.strip() for cell in re.split("[│┃]", row) if cell.strip()]


def json_of(outcome: Outcome) -> Any:
    """Return what was printed with `--json`."""
    assert outcome.exit_code == 0, outcome.output
    return json.loads(outcome.stdout)
