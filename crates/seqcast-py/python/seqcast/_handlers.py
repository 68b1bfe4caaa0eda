"""The handlers of a worker. They are Python objects only, so that the garbage collector sees them."""

from __future__ import annotations

import logging
import weakref
from typing import Any, Callable, Optional, Union

from ._events import Lagged, Missed, Notice, Undecided, Unreadable
from ._seqcast import Event, unraisable

logger = logging.getLogger("seqcast")

Handler = Callable[[Event], object]

_MOST_REMEMBERED = 10_000

Scopes = Optional[list[tuple[str, Optional[list[str]]]]]


class _Weak:
    """A weak reference to a handler. Calling it calls the handler."""

    __slots__ = ("ref",)

    def __init__(self, handler: Handler, forget: Callable[[Any], None]) -> None:
        self.ref: weakref.ref[Any]
        if hasattr(handler, "__self__") and hasattr(handler, "__func__"):
            self.ref = weakref.WeakMethod(handler, forget)
        else:
            self.ref = weakref.ref(handler, forget)

    def __call__(self, event: Event) -> object:
        handler = self.ref()
        return None if handler is None else handler(event)

    def __repr__(self) -> str:
        return f"<weak {self.ref()!r}>"


class _Entry:
    """A registration."""

    __slots__ = ("events", "handler", "is_for_clears", "source")

    def __init__(
        self, handler: Union[Handler, _Weak], source: Optional[str], events: tuple[str, ...], is_for_clears: bool
    ) -> None:
        self.handler = handler
        self.source = source
        self.events = events
        self.is_for_clears = is_for_clears

    def rank(self, source: str, event: str) -> Optional[int]:
        """Return 0, 1, 2 if it is for everything, for the source, for the event; ``None`` if it is for neither."""
        if self.source is None:
            return 0
        if self.source != source:
            return None
        if not self.events:
            return 1
        return 2 if event in self.events else None

    def is_of(self, handler: Handler) -> bool:
        """Return ``True`` if this is a registration of ``handler``."""
        own = self.handler.ref() if isinstance(self.handler, _Weak) else self.handler
        return own is not None and bool(own == handler)


class Handlers:
    """The handlers as the extension module uses them: see ``poll.rs``."""

    __slots__ = ("__weakref__", "_entries", "is_changed", "notices", "progress", "table", "version")

    def __init__(self) -> None:
        self._entries: tuple[_Entry, ...] = ()
        self.table: dict[str, dict[str, tuple[Any, ...]]] = {}
        self.progress: list[Any] = []
        self.version = 0
        self.is_changed = True
        """``True`` if the seat's filter does not match the handlers."""
        self.notices: tuple[Callable[[Notice], object], ...] = ()

    def __bool__(self) -> bool:
        return bool(self._entries)

    def add(
        self, handler: Handler, source: Optional[str], events: tuple[str, ...], weak: bool, is_for_clears: bool
    ) -> None:
        """Register a handler of events, or of the clears of retained events."""
        kept: Union[Handler, _Weak] = handler
        if weak:
            registry = weakref.ref(self)

            def forget(ref: Any) -> None:
                handlers = registry()
                if handlers is not None:
                    handlers._keep(lambda entry: not (isinstance(entry.handler, _Weak) and entry.handler.ref is ref))

            kept = _Weak(handler, forget)
        self._change((*self._entries, _Entry(kept, source, events, is_for_clears)))

    def remove(self, handler: Handler) -> bool:
        """Remove all registrations of a handler. Return ``False`` if there is none."""
        return self._keep(lambda entry: not entry.is_of(handler))

    def lives(self, handler: Any) -> bool:
        """Return ``True`` if a handler that was found before is still registered."""
        return any(entry.handler is handler for entry in self._entries)

    def _keep(self, is_kept: Callable[[_Entry], bool]) -> bool:
        kept = tuple(entry for entry in self._entries if is_kept(entry))
        if len(kept) == len(self._entries):
            return False
        self._change(kept)
        return True

    def _change(self, entries: tuple[_Entry, ...]) -> None:
        self._entries = entries
        self.version += 1
        self.is_changed = True
        self.table.clear()

    def find(self, source: str, event: str) -> tuple[Any, ...]:
        """Return the handlers of an event, in the order in which they run, and remember them in the table."""
        while True:
            version = self.version
            found = self._find(source, event, False)
            of_source = self.table.setdefault(source, {})
            if len(of_source) + len(self.table) > _MOST_REMEMBERED:
                # Other processes choose the names.
                self.table.clear()
            else:
                of_source[event] = found
            # Another thread may have registered a handler meanwhile.
            if version == self.version:
                return found
            self.table.clear()

    def find_cleared(self, source: str, event: str) -> tuple[Any, ...]:
        """Return the handlers for the clear of a retained event, in the order in which they run."""
        return self._find(source, event, True)

    def _find(self, source: str, event: str, is_for_clears: bool) -> tuple[Any, ...]:
        entries = (entry for entry in self._entries if entry.is_for_clears == is_for_clears)
        ranked = [(entry.rank(source, event), entry.handler) for entry in entries]
        return tuple(handler for wanted in range(3) for rank, handler in ranked if rank == wanted)

    def scopes(self) -> Scopes:
        """Return the filter for the handlers: ``None`` for all events."""
        scopes: list[tuple[str, Optional[list[str]]]] = []
        for entry in self._entries:
            if entry.source is None:
                return None
            scopes.append((entry.source, list(entry.events) or None))
        return scopes

    def notice(self, notice: Notice) -> None:
        """Report a delivery that is not an event."""
        for handler in self.notices:
            try:
                handler(notice)
            except Exception as error:
                unraisable(error, handler)
        if self.notices:
            return
        if isinstance(notice, Lagged):
            text = "missed %d events from id %d on%s: read more often, or raise capacity"
            waited = ", although posts waited for this worker" if notice.cut_off else ""
            logger.warning(text, notice.missed, notice.first, waited)
        elif isinstance(notice, Missed):
            number = "an unknown number of" if notice.count is None else notice.count
            host = "" if notice.origin is None else f" of host {notice.origin}"
            logger.warning("%s events%s were lost between hosts (id %d): %s", number, host, notice.id, notice.reason)
        elif isinstance(notice, Undecided):
            logger.warning("the unique event %d was not run here: %s", notice.id, notice.reason)
        elif isinstance(notice, Unreadable):
            logger.warning("what is at id %d is no event", notice.id)

    def run(self, event: Event) -> None:
        """Run the handlers of one event."""
        for handler in self.find(event.source, event.event):
            try:
                handler(event)
            except Exception as error:
                unraisable(error, handler)
