"""Codecs: encode values as the bytes of an event, and decode them."""

from __future__ import annotations

import json
from typing import Any, Protocol, Union

from ._errors import DecodeError
from ._events import LocalEvent
from ._seqcast import Event


class Codec(Protocol):
    """A codec encodes values as bytes and decodes them. Any object with these two methods is one.

    A codec that unpickles would run code that other processes choose. Use one only if no other user can write to the
    segment.
    """

    def encode(self, value: Any, /) -> Union[bytes, str]:
        """Return the payload for a value."""

    def decode(self, data: bytes, /) -> Any:
        """Return the value of a payload."""


class _Json:
    """Values as JSON in UTF-8, without spaces. NaN and infinity are refused: other languages cannot read them.

    >>> import seqcast
    >>> seqcast.JSON.encode({"id": 42, "name": "é"})
    '{"id":42,"name":"é"}'
    >>> seqcast.JSON.decode(b'[1,2]')
    [1, 2]
    """

    _encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))

    def encode(self, value: Any, /) -> str:
        """Return the JSON of a value."""
        return self._encoder.encode(value)

    def decode(self, data: bytes, /) -> Any:
        """Return the value of a JSON payload."""
        return json.loads(data.decode())

    def __repr__(self) -> str:
        return "seqcast.JSON"


class _Text:
    """Text as UTF-8.

    >>> import seqcast
    >>> seqcast.TEXT.decode(b"user:42")
    'user:42'
    """

    def encode(self, value: str, /) -> str:
        """Return the text."""
        if not isinstance(value, str):
            raise TypeError(f"text must be str, not {type(value).__name__}")
        return value

    def decode(self, data: bytes, /) -> str:
        """Return the text of a payload."""
        return data.decode()

    def __repr__(self) -> str:
        return "seqcast.TEXT"


JSON = _Json()
TEXT = _Text()


def decode(codec: Codec, event: Event) -> Any:
    """Return the value of an event, which for a local event is the posted object itself."""
    if isinstance(event, LocalEvent):
        return event.value
    try:
        return codec.decode(event.data)
    except Exception as error:
        # Without the error's text, which may contain the payload.
        name, size = type(error).__name__, len(event.data)
        text = f"the {size} bytes of event {event.id} ({event.source}/{event.event}) are no value of {codec!r}: {name}"
        raise DecodeError(text) from None
