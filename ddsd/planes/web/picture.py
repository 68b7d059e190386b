"""Pictures for cameras: QR codes as parts of pages."""

from __future__ import annotations

import io

import segno


def qr_code(text: str) -> str:
    """Return a QR code as an SVG element without any style or script, which the policy of pages allows."""
    written = io.BytesIO()
    segno.make(text, error="m", micro=False).save(
        written, kind="svg", xmldecl=False, svgns=True, omitsize=True, light="#fff", dark="#000",
        svgclass=None, lineclass=None, nl=False,
    )  # fmt: skip
    return written.getvalue().decode()
