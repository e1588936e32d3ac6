"""How everything a definition owns outside the process is called. Every name starts with the definition's."""

from __future__ import annotations

from msgspec import Struct


class Names(Struct, frozen=True):
    """Names of the topics, consumer groups and Redis keys of one definition.

    Examples:
        >>> Names("shop").events, Names("shop").redis_profile("ada")
        ('shop-events', 'shop:profile:ada')
    """

    definition: str

    @property
    def clicks(self) -> str:
        """Default input topic: events as they come."""
        return f"{self.definition}-clicks"

    @property
    def events(self) -> str:
        """Events normalised and keyed by user."""
        return f"{self.definition}-events"

    @property
    def deltas(self) -> str:
        return f"{self.definition}-profile-deltas"

    @property
    def dead_letters(self) -> str:
        return f"{self.definition}-dead-letters"

    @property
    def text_requests(self) -> str:
        """Texts that want a vector."""
        return f"{self.definition}-text-requests"

    @property
    def text_vectors(self) -> str:
        """Their answers, each in the partition that asked."""
        return f"{self.definition}-text-vectors"

    @property
    def model_metrics(self) -> str:
        """How good the models are, compacted: the latest report of each partition."""
        return f"{self.definition}-model-metrics"

    @property
    def changelog(self) -> str:
        """The profiles' state, compacted."""
        return f"{self.definition}-profiles-changelog"

    @property
    def intake_group(self) -> str:
        return f"{self.definition}-intake"

    @property
    def profiles_group(self) -> str:
        return f"{self.definition}-profiles"

    @property
    def text_group(self) -> str:
        return f"{self.definition}-text"

    def redis_profile(self, user_id: str) -> str:
        return f"{self.definition}:profile:{user_id}"

    @property
    def redis_description(self) -> str:
        """What the profiles' fields are, for readers."""
        return f"{self.definition}:definition"

    def redis_text(self, text_id: str) -> str:
        """The vector of a text that was encoded lately, shared by all text workers."""
        return f"{self.definition}:text:{text_id}"

    @property
    def redis_text_metrics(self) -> str:
        """A hash: how texts stand, one field for each partition of profiles and one for each encoder at work."""
        return f"{self.definition}:text-metrics"

    @property
    def redis_metrics(self) -> str:
        """A hash: one field per partition with how its learners stand, whole, so that partitions can be merged."""
        return f"{self.definition}:metrics"
