"""What users are interested in, in words: the texts and the labels that they are nearer to than others are.

All titles of a shop have much in common, and so have the means of many: what tells users apart is where they differ
from the mean of all. This is for the demo; a profile has the plain vectors and cosines.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import redis
from numpy.typing import NDArray

from ..contracts import Event, Profile
from ..definition import ProfileDefinition
from ..models import TextEmbedding
from ..names import Names
from ..text.cache import stored_vector

#: Texts remembered, of those that came by.
_MAX_TEXTS = 20_000
_USERS_SHOWN, _TEXTS_SHOWN, _LABELS_SHOWN = 5, 4, 3
#: Of fewer texts nobody would say what somebody is interested in; of very many it is everything.
_FEWEST_TEXTS, _MOST_TEXTS = 15, 300
_KEYS_PER_TRIP = 1_000


class SeenTexts:
    """The texts that events brought, by the encoder that they are meant for.

    Parameters:
        definition: Whose text embeddings they are for.
    """

    def __init__(self, definition: ProfileDefinition) -> None:
        self._names = Names(definition.name)
        self._embeddings = definition.text_embeddings
        self._texts: dict[str, dict[str, str]] = {each.encoder_name: {} for each in self._embeddings}

    def see(self, event: Event) -> None:
        """Note the texts of an event."""
        for embedding in self._embeddings:
            text = embedding.text_of(event)
            seen = self._texts[embedding.encoder_name]
            if text is not None and len(seen) < _MAX_TEXTS:
                seen[text.text_id] = text.text

    def lines(self, profiles: Sequence[Profile], client: redis.Redis) -> list[str]:
        """What sets the most particular of some users apart, a line each.

        Parameters:
            profiles: As the client reads them, of many users: the mean of all is taken of these.
            client: The Redis that the text workers share.

        Raises:
            redis.RedisError: it does not answer.
        """
        return [line for embedding in self._embeddings for line in self._of(embedding, profiles, client)]

    def _of(self, embedding: TextEmbedding, profiles: Sequence[Profile], client: redis.Redis) -> list[str]:
        field, half_life = embedding.vectors[-1].name, embedding.vectors[-1].half_life
        known = [profile for profile in profiles if profile.values.get(field) is not None]
        if embedding.labels:  # whose vectors some users had before there were those of the labels
            known = [profile for profile in known if "cosines" in profile.values[embedding.name]]
        if not known:
            return []
        vectors = np.stack([profile.values[field] for profile in known])
        apart = vectors - vectors.mean(0)
        said = [profile.values[embedding.name] for profile in known]
        above = _above_others(embedding, said, half_life)
        # Those who are most particular; where there are labels, one for each.
        order = np.argsort(-(np.linalg.norm(apart, axis=1) if above is None else above.max(1)), kind="stable")
        texts, rows = self._rows(embedding, vectors.shape[1], client)
        lines: list[str] = []
        shown: set[int] = set()
        for n in order:
            best = n if above is None else above[n].argmax()
            if _FEWEST_TEXTS <= said[n]["texts"] <= _MOST_TEXTS and best not in shown and len(lines) < _USERS_SHOWN:
                shown.add(best)
                nearest = np.argsort(-(rows @ apart[n]), kind="stable")[:_TEXTS_SHOWN]
                who = f"{embedding.name} of {known[n].user_id} ({half_life}, {said[n]['texts']} texts)"
                line = f"{who}, more than others: "
                if above is not None:
                    line += f"{', '.join(_labels(embedding.labels, said[n], above[n], half_life))}; "
                lines.append(line + "near " + ", ".join(f'"{texts[place]}"' for place in nearest))
        return lines

    def _rows(self, embedding: TextEmbedding, dimension: int, client: redis.Redis) -> tuple[list[str], NDArray[Any]]:
        """The seen texts whose vectors Redis has, and those."""
        seen, texts, rows = self._texts[embedding.encoder_name], list[str](), list[bytes]()
        ids = list(seen)
        for start in range(0, len(ids), _KEYS_PER_TRIP):
            some = ids[start : start + _KEYS_PER_TRIP]
            values = cast(list[bytes | None], client.mget([self._names.redis_text(text_id) for text_id in some]))
            for text_id, value in zip(some, values, strict=True):
                if value is not None and len(row := stored_vector(value)) == 4 * dimension:
                    texts.append(seen[text_id])
                    rows.append(row)
        return texts, np.frombuffer(b"".join(rows), "<f4").reshape(len(rows), dimension)


def _above_others(
    embedding: TextEmbedding, said: Sequence[dict[str, Any]], half_life: str
) -> NDArray[np.float64] | None:
    """How far each user's cosine with each label is above the mean of all users; None where there are no labels."""
    if not embedding.labels:
        return None
    cosines = np.array([[one["cosines"][half_life][label] for label in embedding.labels] for one in said])
    above: NDArray[np.float64] = cosines - cosines.mean(0)
    return above


def _labels(labels: Sequence[str], one: dict[str, Any], above: NDArray[np.float64], half_life: str) -> list[str]:
    best = np.argsort(-above, kind="stable")[:_LABELS_SHOWN]
    return [f"{labels[n]} {one['cosines'][half_life][labels[n]]:.2f} ({above[n]:+.2f})" for n in best if above[n] > 0]
