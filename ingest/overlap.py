"""Copies of one message through overlapping filters: which of them counts.

A broker may send one PUBLISH with the identifiers of all matching subscriptions, or one for each matching subscription
with its identifier (MQTT 5 §3.3.4). Seen: Mosquitto 2.0 (whatever `allow_duplicate_messages` says, in the order of its
tree) and rumqttd send one for each. aedes, by its own account, sends one with the first identifier only.

**The rule.** Within a generation a copy is *absorbed* when an earlier filter, granted at least the same QoS, matches
the topic too. Filters are subscribed best first, so whenever a message was routed through the later filter, it was
routed through the earlier one as well, and that copy counts. This needs nothing but the identifier, so it holds across
crashes. Copies without identifier, of unknown generations and of `$share` always count.

**Never a loss.** The rule is relied on only when this broker has been seen to send both copies of one message. Before,
an absorbed copy is held unacknowledged; when the other copy comes, both facts are known. When it does not come in
time, the broker is taken to send one copy only, and absorbed copies count while the connection lasts; should the other
copy come all the same (a broker may send it only when the first is acknowledged), it does not count, if the session is
new with the connection; else the first one's other copy may have come before, and this be that of an identical message.
What was granted may not be known yet, after a crash before SUBACK was on record: copies that this decides about wait
for SUBACK. Told apart are copies by generation and digest, so the one thing that must not be is a broker that sends a
single copy under an identifier picked at random. What is held when the connection ends comes again; at QoS 0 it is
gone.

A message may count twice if it is routed while a changed set of overlapping filters is being subscribed, or if the
connection ends between its copies before the broker's ways are on record.

Retained messages that come because of a SUBSCRIBE come once for each subscription that is new, on every broker. There
the absorbing filter must be as new, and nothing is held or learnt.
"""

from __future__ import annotations

import enum
from typing import Generic, TypeVar

from ingest.subscriptions import Generation, Subscribed
from shared.topics import TopicTrie, parse_filter

HOLD_MS = 500
"""How long an absorbed copy waits for the one that counts."""
HOLD_MAX = 1000
RECENT = 256
"""Messages whose other copy is still recognised while the broker's ways are unknown."""

Key = tuple[int, bytes]
Item = TypeVar("Item")


class Verdict(enum.Enum):
    """What becomes of a copy."""

    COUNTS = enum.auto()
    DUPLICATE = enum.auto()
    SKIPPED = enum.auto()
    OWN = enum.auto()
    HELD = enum.auto()


class GenerationIndex:
    """The ordinary filters of a generation, to be found by topic."""

    def __init__(self, generation: Generation) -> None:
        self._trie: TopicTrie[Subscribed] = TopicTrie()
        for each in generation.filters:
            if not each.filter.startswith("$share/"):
                self._trie.add(parse_filter(_escaped(each.filter)), each)

    def matching(self, topic: str) -> list[Subscribed]:
        """The filters that match, in the order of SUBSCRIBE."""
        return self._trie.match(topic)


def absorbed_identifiers(matching: list[Subscribed]) -> frozenset[int]:
    """Identifiers of a generation whose copies do not count, given its filters that match."""
    return frozenset(
        each.identifier
        for place, each in enumerate(matching)
        if each.identifier and any(_absorbs(other, each) for other in matching[:place])
    )


def undecided_identifiers(matching: list[Subscribed]) -> frozenset[int]:
    """Identifiers of a generation of which SUBACK will tell whether their copies count."""
    return frozenset(
        each.identifier
        for place, each in enumerate(matching)
        if each.identifier and any(None in (other.granted, each.granted) for other in matching[:place])
    ) - absorbed_identifiers(matching)


def absorbed_when_retained(matching: list[Subscribed], skipped: frozenset[str]) -> frozenset[int]:
    """The same for messages that come because we subscribed; filters in `skipped` want none of those."""
    return frozenset(
        each.identifier
        for place, each in enumerate(matching)
        if each.identifier
        and any(
            _absorbs(other, each) and other.since >= each.since and other.filter not in skipped
            for other in matching[:place]
        )
    )


class Copies(Generic[Item]):
    """What one connection shows about the broker's copies, and the copies that wait for it to show."""

    def __init__(self, *, known: bool) -> None:
        self.known = known
        """The broker sends a copy for each matching filter."""
        self.fresh = False
        """The broker's session began with this connection: no other copy has come on an earlier one."""
        self.settled: list[Item] = []
        """Held copies that turned out not to count; whoever looks takes them."""
        self._single = False
        self._counted: dict[Key, int] = {}
        self._early: dict[Key, int] = {}
        self._held: dict[Key, list[Item]] = {}
        self._held_count = 0
        self._held_until = 0

    @property
    def ahead(self) -> bool:
        """Absorbed copies have counted whose other copy may still come."""
        return self.fresh and bool(self._early)

    def counting(self, key: Key) -> Verdict:
        """A copy came that counts, unless an absorbed one has counted in its place."""
        instead = self.fresh and key in self._early
        if key in self._held or key in self._early:
            self._learn()
        elif not self.known:
            _remember(self._counted, key)
        if not instead:
            return Verdict.COUNTS
        self._early[key] -= 1
        if not self._early[key]:
            del self._early[key]
        return Verdict.DUPLICATE

    def absorbed(self, key: Key, item: Item, now_ms: int) -> Verdict:
        """A copy came that the rule absorbs."""
        if key in self._counted:
            self._learn()
        if self.known:
            return Verdict.DUPLICATE
        if self._single or self._held_count >= HOLD_MAX:
            _remember(self._early, key)
            return Verdict.COUNTS
        if not self._held:
            self._held_until = now_ms + HOLD_MS
        self._held.setdefault(key, []).append(item)
        self._held_count += 1
        return Verdict.HELD

    def overdue(self, now_ms: int) -> list[Item]:
        """Held copies that count after all, because the other copy did not come in time."""
        self._held_until = min(self._held_until, now_ms + HOLD_MS)  # the clock may be set back
        if not self._held or now_ms < self._held_until:
            return []
        self._single = True
        for key, items in self._held.items():
            _remember(self._early, key, len(items))
        return self._release()

    def postpone(self, now_ms: int) -> None:
        """Nothing is read at the moment, so nothing can come in time."""
        self._held_until = now_ms + HOLD_MS

    def _learn(self) -> None:
        self.known = True
        self.settled += self._release()

    def _release(self) -> list[Item]:
        items = [item for held in self._held.values() for item in held]
        self._held = {}
        self._held_count = 0
        return items


def _absorbs(other: Subscribed, each: Subscribed) -> bool:
    if other.granted is None or not other.accepted:
        return False
    most = each.granted if each.granted is not None and each.accepted else each.requested
    return other.granted >= most


def _remember(keys: dict[Key, int], key: Key, times: int = 1) -> None:
    keys[key] = keys.get(key, 0) + times
    if len(keys) > RECENT:
        del keys[next(iter(keys))]


def _escaped(subscription: str) -> str:
    """As a user would write it: braces are literal in what was sent to the broker."""
    return subscription.replace("{", "{{").replace("}", "}}")
