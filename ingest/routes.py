"""What a topic means to a trigger: which of its topics match, and which copies of a message count. Found once, kept."""

from __future__ import annotations

import msgspec

from ingest.overlap import GenerationIndex, absorbed_identifiers, absorbed_when_retained, undecided_identifiers
from ingest.subscriptions import REFUSED, Subscribed, Subscriptions
from shared.definitions import Trigger
from shared.topics import TopicTrie, parse_filter

ROUTES_MAX = 10_000
"""Topics that are kept at once."""


class Route(msgspec.Struct, frozen=True):
    """The trigger's topics (indices) that match a topic, best first, and whose copies count or do not (identifiers).

    `retained` are those that want retained messages too. `shared` holds the topics of each share subscription that
    matches, by its identifier. Of `undecided` only SUBACK tells. `plain`: every copy counts, for all of `filters`.
    """

    filters: list[int]
    retained: list[int]
    shared: dict[int, list[int]]
    counting: frozenset[int]
    absorbed: frozenset[int]
    undecided: frozenset[int]
    absorbed_retained: frozenset[int]
    plain: bool

    def delivered(self, identifiers: list[int], *, retained: bool) -> list[int]:
        """The topics that a copy was delivered for: that of a share subscription is delivered for no other."""
        filters = self.retained if retained else self.filters
        if not self.shared or not identifiers:
            return filters
        own = {index for each in identifiers for index in self.shared.get(each, ())}
        if self.shared.keys() >= set(identifiers):
            return [index for index in filters if index in own]
        foreign = {index for indices in self.shared.values() for index in indices} - own
        return [index for index in filters if index not in foreign]


class Routes:
    """The routes of a trigger under its subscriptions; None: nothing is subscribed yet."""

    def __init__(self, trigger: Trigger, subscriptions: Subscriptions | None) -> None:
        generations = subscriptions.generations if subscriptions else []
        current = {each.filter: each for each in subscriptions.current} if subscriptions else {}
        parsed = [parse_filter(topic.topic) for topic in trigger.topics]
        wants_retained = {
            each.subscription for each, topic in zip(parsed, trigger.topics, strict=True) if topic.retained == "run"
        }
        self._skipped_filters = frozenset(each.subscription for each in parsed) - wants_retained
        self.skipped = frozenset(
            each.identifier
            for generation in generations
            for each in generation.filters
            if each.identifier and each.filter in self._skipped_filters
        )
        """Identifiers of all filters that want no retained messages."""
        self._retained = {index for index, each in enumerate(trigger.topics) if each.retained == "run"}
        self._shared = {
            index: current[each.subscription].identifier
            for index, each in enumerate(parsed)
            if each.share is not None and each.subscription in current and current[each.subscription].identifier
        }
        levels = [_level(current.get(each.subscription), trigger.topics[i].qos) for i, each in enumerate(parsed)]
        self._topics: TopicTrie[int] = TopicTrie()
        for index in sorted(range(len(parsed)), key=lambda index: -levels[index]):
            if levels[index] >= 0:
                self._topics.add(parsed[index], index)
        self._generations = [GenerationIndex(each) for each in generations]
        self._routes: dict[str, Route] = {}

    def of(self, topic: str) -> Route:
        """The route of a topic."""
        route = self._routes.get(topic)
        if route is None:
            if len(self._routes) >= ROUTES_MAX:
                self._routes.clear()
            route = self._routes[topic] = self._find(topic)
        return route

    def _find(self, topic: str) -> Route:
        filters = self._topics.match(topic)
        shared: dict[int, list[int]] = {}
        for index in filters:
            if index in self._shared:
                shared.setdefault(self._shared[index], []).append(index)
        ordinary: set[int] = set()
        absorbed: set[int] = set()
        absorbed_retained: set[int] = set()
        for generation in self._generations:
            matching = generation.matching(topic)
            ordinary |= {each.identifier for each in matching}
            absorbed |= absorbed_identifiers(matching)
            absorbed_retained |= absorbed_when_retained(matching, self._skipped_filters)
        undecided = undecided_identifiers(self._generations[0].matching(topic)) if self._generations else frozenset()
        return Route(
            filters,
            [index for index in filters if index in self._retained],
            shared,
            frozenset(ordinary - absorbed),
            frozenset(absorbed),
            undecided,
            frozenset(absorbed_retained),
            plain=not absorbed and not undecided and not shared,
        )


def _level(known: Subscribed | None, requested: int) -> int:
    """How good a filter is: its QoS, -1 where the broker refused it."""
    if known is None or known.granted is None:
        return requested
    return known.granted if known.granted < REFUSED else -1
