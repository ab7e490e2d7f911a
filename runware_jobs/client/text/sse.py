"""Server-sent events, read: bytes cut anywhere in, the content of each event out.

Pure. Only `data` matters on this wire; comments keep the line alive and other fields mean nothing.
"""

from __future__ import annotations

import codecs

import orjson

END = "[DONE]"


class EventReader:
    """Collects bytes into events. An event that is complete as JSON is given at once, blank line or not."""

    def __init__(self) -> None:
        # A character may arrive in two halves; a byte order mark is no part of the first line.
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._line = ""
        self._follows_cr = False
        self._data: list[str] = []

    def feed(self, part: bytes, *, is_last: bool = False) -> list[str]:
        """Take the next bytes; give the events that they complete: JSON, `[DONE]`, or what is neither."""
        events: list[str] = []
        for line in self._lines(self._decoder.decode(part, is_last)):
            events += self._take(line)
        if is_last:
            events += self._take(self._line) + self._take("")
            self._line = ""
        return events

    def _lines(self, text: str) -> list[str]:
        """Cut at LF, CR LF and lone CR; the LF of a CR LF may come with the next part."""
        if self._follows_cr and text:
            text = text.removeprefix("\n")
            self._follows_cr = False
        self._follows_cr = self._follows_cr or text.endswith("\r")
        *lines, self._line = (self._line + text).replace("\r\n", "\n").replace("\r", "\n").split("\n")
        return lines

    def _take(self, line: str) -> list[str]:
        if line:
            name, _, value = line.partition(":")
            if name != "data":
                return []
            self._data.append(value.removeprefix(" "))
        content = "\n".join(self._data).strip()
        if not content or (line and not _is_complete(content)):
            return []
        self._data.clear()
        return [content]


def _is_complete(content: str) -> bool:
    if content == END:
        return True
    try:
        orjson.loads(content)
    except orjson.JSONDecodeError:
        return False
    return True
