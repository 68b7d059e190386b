"""Devices, as their people know them."""

from __future__ import annotations

import pytest

from ddsd.users.agents import readable

_APPLE = "AppleWebKit/605.1.15 (KHTML, like Gecko)"
_CHROME = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0"


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        (
            "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0",
            "Firefox on Linux",
        ),
        (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_CHROME} Safari/537.36", "Chrome on Windows"),
        (
            f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_CHROME} Safari/537.36 Edg/131.0.0.0",
            "Edge on Windows",
        ),
        (f"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {_CHROME} Safari/537.36", "Chrome on ChromeOS"),
        (f"Mozilla/5.0 (Linux; Android 10; K) {_CHROME} Mobile Safari/537.36", "Chrome on Android"),
        (
            f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {_APPLE} Version/18.1 Safari/605.1.15",
            "Safari on Mac",
        ),
        (
            f"Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) {_APPLE} Version/18.1 Mobile/15E148 Safari/604.1",
            "Safari on iPhone",
        ),
        (
            f"Mozilla/5.0 (iPad; CPU OS 18_1 like Mac OS X) {_APPLE} FxiOS/133.0 Mobile/15E148 Safari/605.1.15",
            "Firefox on iPad",
        ),
        ("dds-cli/2.15.1 python-requests/2.32.3", "dds command line 2.15.1"),
        ("ddsctl/0.1.0", "ddsctl 0.1.0"),
        ("Mozilla/5.0 Firefox/133.0", "Firefox"),
        ("curl/8.11.0", "curl/8.11.0"),
        ("my Firefox/1 on Linux", "my Firefox/1 on Linux"),
        ("dds-cli/<b>", "dds-cli/<b>"),
        ("", ""),
    ],
)
def test_a_device_is_called_what_its_person_calls_it(agent: str, words: str) -> None:
    assert readable(agent) == words
