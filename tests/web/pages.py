"""A browser without a window: it keeps cookies, fills in forms, and finds what is wrong with a page's HTML."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

import httpx

from tests.world import World

_VOID = frozenset({"meta", "link", "input", "br", "hr", "img"})
_POINTERS = ("for", "aria-describedby", "aria-labelledby")

Attributes = dict[str, str]


@dataclass
class Element:
    """An element as it was met, and the text directly or indirectly in it."""

    tag: str
    attributes: Attributes
    text: str = ""


@dataclass
class Page(HTMLParser):
    """A page, taken apart. Raises on tags that do not match."""

    source: str
    elements: list[Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._open: list[Element] = []
        self.feed(self.source)
        self.close()
        assert not self._open, f"never closed: {[one.tag for one in self._open]}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> repeats an attribute: {names}"
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.elements.append(element)
        if tag not in _VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open[-1].tag == tag, f"</{tag}> closes <{self._open[-1].tag}>"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text += data

    def all(self, tag: str, **attributes: str) -> list[Element]:
        """Return the elements of a tag that have these attributes."""
        return [
            one
            for one in self.elements
            if one.tag == tag and attributes.items() <= one.attributes.items()
        ]

    def one(self, tag: str, **attributes: str) -> Element:
        """Return the only such element."""
        (found,) = self.all(tag, **attributes)
        return found

    @property
    def text(self) -> str:
        """What the page says."""
        return " ".join(self.one("body").text.split())

    @property
    def fields(self) -> dict[str, str]:
        """What the form would send as it stands."""
        return {
            one.attributes["name"]: one.attributes.get("value", "")
            for one in self.all("input")
            if "name" in one.attributes
            and (one.attributes.get("type") != "checkbox" or "checked" in one.attributes)
        }

    def faults(self) -> Iterator[str]:
        """Yield what is wrong with it, for a screen reader or for a strict Content-Security-Policy."""
        yield from self._inline()
        yield from self._structure()
        yield from self._pointers()

    def _inline(self) -> Iterator[str]:
        for one in self.elements:
            if one.tag in {"style", "base", "iframe", "object", "embed"}:
                yield f"<{one.tag}> is not allowed"
            if one.tag == "script" and (not one.attributes.get("src") or one.text.strip()):
                yield "an inline script"
            yield from (
                f"<{one.tag} {name}>"
                for name, value in one.attributes.items()
                if name == "style" or name.startswith("on") or value.startswith("javascript:")
            )

    def _structure(self) -> Iterator[str]:
        if not self.source.startswith("<!DOCTYPE html>"):
            yield "no doctype"
        for tag in ("html", "head", "title", "body", "header", "main", "footer", "h1"):
            if len(self.all(tag)) != 1:
                yield f"{len(self.all(tag))} <{tag}>"
        if not self.one("html").attributes.get("lang"):
            yield "no language"
        labelled = {one.attributes.get("for") for one in self.all("label")}
        for one in self.all("input"):
            if one.attributes.get("type") != "hidden" and one.attributes.get("id") not in labelled:
                yield f"no label for {one.attributes}"

    def _pointers(self) -> Iterator[str]:
        ids = [one.attributes["id"] for one in self.elements if "id" in one.attributes]
        if len(ids) != len(set(ids)):
            yield f"an id twice: {sorted(ids)}"
        for one in self.elements:
            targets = [name for key in _POINTERS for name in one.attributes.get(key, "").split()]
            if one.attributes.get("href", "").startswith("#"):
                targets.append(one.attributes["href"][1:])
            yield from (f"<{one.tag}> points to no {name}" for name in targets if name not in ids)


async def look(world: World, path: str, *, status: int = 200) -> Page:
    """Return the page at a path; it must have that status and nothing wrong with it."""
    return read(await world.http.get(path), status=status)


async def send(
    world: World, path: str, *, start: str | None = None, status: int = 200, **fields: str
) -> Page:
    """Fill in the form at ``start`` (``path`` itself if not given) and post it to ``path``."""
    form = await look(world, start or path)
    answer = await world.http.post(path, data=form.fields | fields)
    return read(answer, status=status)


def read(answer: httpx.Response, *, status: int = 200) -> Page:
    """Return the page an answer holds, after checking what every page has to have."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    page = Page(answer.text)
    assert list(page.faults()) == []
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
    return page
