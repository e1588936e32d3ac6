"""Every error this library raises on purpose, as one tree.

* StreamProfilesError
  * DefinitionError      a profile definition that cannot be built
  * SettingsError        a setting, file or option that cannot work
    * MappingError       a mapping file that does not say how to read its records
    * TopicError         a topic that is missing or has the wrong shape
  * InvalidEvent         one record that is not an event; it becomes a dead letter
  * CheckFailed          a feature that is not what every feature must be
  * StateError           a stored state that this version cannot read
  * ConnectionFailed     a server that does not answer
    * KafkaUnavailable
    * RedisUnavailable
  * EmbeddedServerError  the embedded Kafka or Redis could not be started

A message says what was wrong, where, and what to do. The command line prints it as one sentence and exits with
`exit_code`; 2 means "what you gave me is wrong", 1 means "the world is".
"""

from __future__ import annotations

from typing import ClassVar


class StreamProfilesError(Exception):
    """Base of all errors of this library."""

    exit_code: ClassVar[int] = 1


class DefinitionError(StreamProfilesError):
    """A profile definition that cannot be built."""

    exit_code = 2


class SettingsError(StreamProfilesError):
    """A setting, file or option that cannot work."""

    exit_code = 2


class MappingError(SettingsError):
    """A mapping that does not say how to read its records."""


class TopicError(SettingsError):
    """A topic that is missing or has the wrong shape."""


class InvalidEvent(StreamProfilesError):
    """One record that is not an event. Its text is the reason written into the dead letter."""


class CheckFailed(StreamProfilesError):
    """A feature that is not what every feature must be; raised by `checks`."""


class StateError(StreamProfilesError):
    """A stored state that this version of the library cannot read."""


class ConnectionFailed(StreamProfilesError):
    """A server that does not answer."""


class KafkaUnavailable(ConnectionFailed):
    """No Kafka broker answers at the configured address."""


class RedisUnavailable(ConnectionFailed):
    """No Redis answers at the configured address."""


class EmbeddedServerError(StreamProfilesError):
    """The embedded Kafka or Redis could not be started."""
