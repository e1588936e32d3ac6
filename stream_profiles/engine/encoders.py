"""The encoders of a definition, at work in this process: each with its batcher and its cache."""

from __future__ import annotations

import asyncio
import logging

import redis.asyncio

from ..definition import ProfileDefinition
from ..durations import to_ms
from ..models.text_embeddings import embeddings_by_encoder
from ..names import Names
from ..settings import Settings
from ..text.batcher import Batcher
from ..text.cache import VectorCache
from ..text.encoder import StagedEncoder
from ..text.loading import load_encoder
from ..text.source import VectorSource

log = logging.getLogger(__name__)


async def start_sources(
    definition: ProfileDefinition, settings: Settings, client: redis.asyncio.Redis
) -> list[VectorSource]:
    """Load the encoders and start their batchers; stopping those is the caller's business.

    Raises:
        SettingsError: an encoder cannot be loaded, for the want of torch or of the model.
    """
    encoders: list[StagedEncoder] = []
    for name, embeddings in embeddings_by_encoder(definition.text_embeddings).items():
        log.info("loading the encoder %s", name)
        # A model takes seconds, in which others must be answered.
        encoder = await asyncio.to_thread(
            load_encoder,
            embeddings[0].encoder_given,
            dimension=embeddings[0].dimension,
            device=settings.text_device,
            dtype=settings.text_precision,
        )
        encoders.append(encoder)
    # Only when all are there: a batcher that runs must have somebody who stops it.
    sources: list[VectorSource] = []
    names, ttl_ms = Names(definition.name), to_ms(settings.text_cache_ttl)
    for encoder in encoders:
        batcher = Batcher(
            encoder, max_batch_tokens=settings.text_batch_tokens, max_wait_ms=to_ms(settings.text_max_wait)
        )
        await batcher.start()
        cache = VectorCache(client, names, encoder, ttl_ms=ttl_ms, max_items=settings.text_cache_size)
        sources.append(VectorSource(batcher, cache))
    return sources
