"""The stock `dds` client, unmodified, driven as its users drive it: a process, a terminal, keys.

Without answers to give, the client runs on pipes, so that its standard output can be read alone
(`--json`). With answers it runs on a terminal of its own and asks. In both cases the terminal is
wide, so that no table is folded, and dumb, so that nothing is drawn twice.
Invariant: the client sees nothing of the caller's environment but PATH; its home is its own.

Where it leaves things: the token in `home/.dds_cli_token`; `data put` and `data get` make
`DataDelivery_*` in the working directory, with their logs in `logs/` there. The name of that log
is the whole command line, so long paths make the client fail: give paths relative to `work`.
"""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import termios
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pexpect
import pexpect.fdpexpect
import pytest

from tests.parts import absent

PART = "the stock client"
BINARY = "DDSD_STOCK_CLIENT"
CHECKOUT = Path(__file__).resolve().parents[2]
DEFAULT_BINARY = CHECKOUT / ".venv-stock-client" / "bin" / "dds"

COLUMNS = 300
LINES = 2000
"""Above the longest table: a longer one would be paged, and the pager waits for a key."""

TERMINAL_SEQUENCE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # OSC: links, titles
    r"|\x1b[@-Z\\-_=>]"
)

ENTER = "\r"
DOWN = "\x1b[B"


@dataclass(frozen=True)
class Answer:
    """What to type when the client's output matches ``prompt`` (a regular expression).

    ``reply`` is typed and followed by Enter; a callable is asked for it when the prompt is there.
    """

    prompt: str
    reply: str | Callable[[], str]


YES = Answer(r"\[y/n\]", "y")
NO = Answer(r"\[y/n\]", "n")


@dataclass(frozen=True)
class Outcome:
    """How the client ended: what it printed, without terminal sequences, and what it never asked.

    On a terminal both streams are one: then ``stderr`` is empty.
    """

    exit_code: int
    stdout: str
    stderr: str
    unasked: tuple[str, ...] = ()

    @property
    def output(self) -> str:
        """Both streams."""
        return self.stdout + self.stderr


class ClientHangsError(AssertionError):
    """The client did not end in time, most likely at a prompt without an answer."""


@dataclass(frozen=True)
class StockClient:
    """One person's client: a home with a token in it, and a working directory; ``ca_file``: whom it trusts."""

    binary: Path
    home: Path
    timeout_seconds: float = 120.0
    ca_file: Path | None = None

    @property
    def work(self) -> Path:
        """The client's working directory."""
        return self.home / "work"

    @property
    def token_file(self) -> Path:
        """Where the client keeps its session's token unless told by `--token-path`."""
        return self.home / ".dds_cli_token"

    def run(self, *arguments: str, answers: Sequence[Answer] = ()) -> Outcome:
        """Run `dds ARGUMENTS` to its end, giving ``answers`` in their order.

        Raises:
            ClientHangsError: it takes longer than ``timeout_seconds``, in all.
        """
        self.work.mkdir(parents=True, exist_ok=True)
        if answers:
            return self._on_terminal(arguments, answers)
        return self._on_pipes(arguments)

    def login(self, username: str, password: str, read_code: Callable[[], str]) -> Outcome:
        """Log in; ``read_code`` is called when the client asks for the one-time code.

        Eight digits from a mail or six from an app: the client asks for both in the same words.
        """
        answers = (
            Answer("DDS username", username),
            Answer("DDS password", password),
            Answer("one-time code: ", read_code),
        )
        return self.run("auth", "login", answers=answers)

    def _on_pipes(self, arguments: Sequence[str]) -> Outcome:
        try:
            ended = subprocess.run(
                [self.binary, *arguments],
                check=False,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                cwd=self.work,
                env=self._environment(),
                timeout=self.timeout_seconds,
            )
        except subprocess.TimeoutExpired as hung:
            said = (hung.stdout or b"") + (hung.stderr or b"")
            raise ClientHangsError(_hang(arguments, said.decode(errors="replace"))) from hung
        return Outcome(ended.returncode, plain(ended.stdout.decode()), plain(ended.stderr.decode()))

    def _on_terminal(self, arguments: Sequence[str], answers: Sequence[Answer]) -> Outcome:
        deadline = time.monotonic() + self.timeout_seconds
        said = io.StringIO()
        with self._started(arguments) as (process, terminal):
            terminal.logfile_read = said
            try:
                unasked = _converse(terminal, answers, deadline)
                exit_code = process.wait(max(0.0, deadline - time.monotonic()))
            except (pexpect.TIMEOUT, subprocess.TimeoutExpired) as hung:
                raise ClientHangsError(_hang(arguments, said.getvalue())) from hung
        return Outcome(exit_code, plain(said.getvalue()), "", unasked)

    @contextmanager
    def _started(
        self, arguments: Sequence[str]
    ) -> Iterator[tuple[subprocess.Popen[bytes], pexpect.fdpexpect.fdspawn[str]]]:
        """Start the client on a new terminal; kill it if it is still there at the end.

        Not `pexpect.spawn`: it forks, which Python 3.12 warns of in a process with threads.
        """
        ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (LINES, COLUMNS))
        try:
            process = subprocess.Popen(
                [self.binary, *arguments],
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                cwd=self.work,
                env=self._environment(),
                start_new_session=True,
            )
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        terminal = pexpect.fdpexpect.fdspawn(ours, encoding="utf-8")
        with process:
            try:
                yield process, terminal
            finally:
                if process.poll() is None:
                    process.kill()
                terminal.close()

    def _environment(self) -> dict[str, str]:
        trusted = {"REQUESTS_CA_BUNDLE": str(self.ca_file)} if self.ca_file else {}
        return trusted | {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.home),
            "DDS_CLI_ENV": "development",
            "COLUMNS": str(COLUMNS),
            "LINES": str(LINES),
            "TERM": "dumb",
            "LANG": "C.UTF-8",
            "TZ": "UTC",  # it prints dates in the zone of its machine
            # Else it asks the terminal where the cursor is, and waits: nobody answers here.
            "PROMPT_TOOLKIT_NO_CPR": "1",
        }


def plain(text: str) -> str:
    """Return ``text`` as a reader sees it: no terminal sequences, line ends as `\\n`."""
    return TERMINAL_SEQUENCE.sub("", text).replace("\r\n", "\n")


@pytest.fixture(scope="session")
def stock_client_binary() -> Path:
    """The installed client: what `DDSD_STOCK_CLIENT` names, else `make stock-client`'s."""
    binary = Path(os.environ.get(BINARY) or DEFAULT_BINARY)
    if not os.access(binary, os.X_OK):
        absent(PART, f"no program {binary}; run `make stock-client` or set {BINARY}")
    return binary.absolute()


@pytest.fixture(scope="session")
def stock_python(stock_client_binary: Path) -> Path:
    """The interpreter the client is installed for: its own modules can be asked directly."""
    return stock_client_binary.with_name("python")


@pytest.fixture
def stock_client_of(
    stock_client_binary: Path, tmp_path: Path, stock_port: int
) -> Callable[[str], StockClient]:
    """Give each named person a client with a home of its own; they all talk to the stock port."""

    def client_of(person: str) -> StockClient:
        return StockClient(stock_client_binary, tmp_path / "stock-clients" / person)

    return client_of


def _converse(
    terminal: pexpect.fdpexpect.fdspawn[str], answers: Sequence[Answer], deadline: float
) -> tuple[str, ...]:
    """Give the answers, then read to the end; return the prompts that did not come."""
    for given, answer in enumerate(answers):
        left = max(0.0, deadline - time.monotonic())
        if terminal.expect([answer.prompt, pexpect.EOF], timeout=left):
            return tuple(unasked.prompt for unasked in answers[given:])
        reply = answer.reply if isinstance(answer.reply, str) else answer.reply()
        terminal.send(reply + ENTER)
    terminal.expect(pexpect.EOF, timeout=max(0.0, deadline - time.monotonic()))
    return ()


def _hang(arguments: Sequence[str], said: str) -> str:
    return f"dds {' '.join(arguments)} did not end in time. It said:\n{plain(said)}"
