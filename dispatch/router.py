"""Which runnables a message is for: pure.

A trigger is compiled once per version; its topic filters are in a trie. A message runs each runnable that its filters
name once, however many of its filters match.
"""

from __future__ import annotations

import msgspec

from dispatch.filters import PayloadFilter
from dispatch.message_key import MessageKey
from shared.definitions import Runnable, Trigger
from shared.envelope import Envelope
from shared.topics import TopicFilter, TopicTrie, captures, matches, parse_filter


class Route(msgspec.Struct, frozen=True):
    """A runnable that a message is for, and the named levels of the filter that led there.

    `handled`: an error handler is called for runs that end badly.
    """

    runnable: Runnable
    captures: dict[str, str]
    handled: bool = False


class CompiledTrigger:
    """A trigger version ready for routing. `filter` and `key` are None where it has none."""

    def __init__(self, trigger: Trigger) -> None:
        self.trigger = trigger
        self.filter = PayloadFilter(trigger.filters, trigger.filter_logic) if trigger.filters else None
        self.key = MessageKey(trigger.path, trigger.idempotency_key) if trigger.idempotency_key else None
        self._handled = frozenset(path for path in trigger.runnables if trigger.handler_of(path) is not None)
        self._filters: list[TopicFilter] = []
        self._trie: TopicTrie[int] = TopicTrie()
        for index, topic in enumerate(trigger.topics):
            parsed = parse_filter(topic.topic)
            self._filters.append(parsed)
            self._trie.add(parsed, index)

    def route(self, envelope: Envelope) -> list[Route]:
        """The runnables for this message, best filter first; empty: nothing in this version asks for its topic.

        The filters that the broker named with the delivery count; where it named none, all that match the topic.
        """
        topic = envelope.topic
        delivered = [
            index for index in envelope.filters if index < len(self._filters) and matches(self._filters[index], topic)
        ]
        routes: dict[str, Route] = {}
        for index in delivered or self._trie.match(topic):
            path = self.trigger.topics[index].runnable or self.trigger.runnable
            runnable = self.trigger.runnables.get(path)
            if runnable is not None and path not in routes:
                routes[path] = Route(runnable, captures(self._filters[index], topic), path in self._handled)
        return list(routes.values())
