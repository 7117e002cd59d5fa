"""Reads a report page as a browser would, without running it."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any


class PageReader(HTMLParser):
    """The elements of a page.

    Attributes:
        tags: Name and attributes of each element, in order.
        scripts: The text of each script element, by its id; the program itself has none.
        policy: The rules of the Content-Security-Policy, by their names.
    """

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.scripts: dict[str, str] = {}
        self.styles: list[str] = []
        self.policy: dict[str, str] = {}
        self._script: str | None = None
        self._style = False
        self.feed(page)
        self.close()

    @property
    def model(self) -> dict[str, Any]:
        """The model that the page shows."""
        model: dict[str, Any] = json.loads(self.scripts["page-data"])
        return model

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attrs}
        self.tags.append((tag, named))
        if tag == "script":
            self._script = named.get("id", "")
            self.scripts[self._script] = ""
        self._style = tag == "style"
        if named.get("http-equiv") == "Content-Security-Policy":
            rules = (rule.split(maxsplit=1) for rule in named["content"].split(";"))
            self.policy = {rule[0]: rule[1] for rule in rules}

    def handle_data(self, data: str) -> None:
        if self._script is not None:
            self.scripts[self._script] += data
        elif self._style:
            self.styles.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._script = None
        self._style = False
