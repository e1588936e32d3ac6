"""The command line: every command, its options, and nothing else. What a command does is in the modules beside it.

They are imported by the command that needs them: none waits for libraries that another one uses.
"""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.text import Text

from ..errors import StreamProfilesError
from . import connect, logs, output

#: Boxes are for people at a terminal; in a pipe or a file, help and wrong usage are plain lines.
_STYLE: Literal["rich"] | None = "rich" if sys.stdout.isatty() and sys.stderr.isatty() else None

app = typer.Typer(
    name="stream-profiles",
    help="Live user profiles from clickstreams: one event at a time, from Kafka to Redis.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=_STYLE,
)
topics_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=_STYLE, help="Create and check the definition's Kafka topics."
)
app.add_typer(topics_app, name="topics")

Definition = Annotated[
    str | None, typer.Option("--definition", "-d", help="Profile definition: path/to/file.py:NAME or module:NAME.")
]
Config = Annotated[Path | None, typer.Option("--config", "-c", help="Settings file; stream_profiles.toml by default.")]
Broker = Annotated[str | None, typer.Option(help="Kafka's host:port; without one, an embedded Kafka is used.")]
Redis = Annotated[str | None, typer.Option(help="redis://host:port/db; without one, an embedded Redis is used.")]
Name = Annotated[str | None, typer.Option("--name", "-n", help="Name of the definition, in place of --definition.")]
Data = Annotated[Path, typer.Option(help="Where embedded servers keep their data, and are found.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, a line each.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Log what the libraries log too.")]


class Part(StrEnum):
    """Parts of a worker's work, as `engine.worker.Role` has them."""

    ALL = "all"
    INTAKE = "intake"
    PROFILES = "profiles"
    TEXT = "text"


@app.command()
def worker(
    definition: Definition = None,
    config: Config = None,
    broker: Broker = None,
    redis: Redis = None,
    only: Annotated[Part, typer.Option(help="Do one part of the work.")] = Part.ALL,
    data: Data = connect.DEFAULT_FOLDER,
    refresh_redis: Annotated[
        bool, typer.Option("--refresh-redis", help="Write every profile to Redis again, for one that lost them.")
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Run a worker: take events in, keep the profiles and encode texts, until Ctrl-C."""
    from . import work

    logs.set_up(verbose)
    deployment = connect.Deployment(config, folder=data, definition=definition, broker=broker, redis=redis)
    work.run_worker(deployment, only.value, refresh_redis=refresh_redis)


@app.command(name="demo")
def demo_command(
    definition: Definition = None,
    text: Annotated[
        str | None, typer.Option(help="Show what users are interested in, by a model: minilm.", metavar="MODEL")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="A file to replay in place of the synthetic shop.")] = None,
    mapping: Annotated[Path | None, typer.Option("--mapping", "-m", help="How the file's rows become events.")] = None,
    speed: Annotated[float | None, typer.Option(help="Times the real speed of the file's events.")] = None,
    seconds: Annotated[float, typer.Option(help="How long the synthetic shop sends events.", min=1)] = 8.0,
    seed: Annotated[int, typer.Option(help="Seed of the synthetic shop.")] = 0,
) -> None:
    """See profiles come alive: a worker on embedded servers, fed with a synthetic shop or a file."""
    from . import demo

    logs.set_up(False)
    demo.run_demo(definition, text=text, data=data, mapping=mapping, speed=speed, seconds=seconds, seed=seed)


@app.command()
def replay(
    files: Annotated[list[Path], typer.Argument(help="CSV, JSON lines or Parquet; .gz too.", show_default=False)],
    mapping: Annotated[Path | None, typer.Option("--mapping", "-m", help="How rows become events (TOML).")] = None,
    definition: Definition = None,
    name: Name = None,
    topic: Annotated[
        str | None, typer.Option(help="Topic to send to; the definition's input topic by default.")
    ] = None,
    config: Config = None,
    broker: Broker = None,
    data: Data = connect.DEFAULT_FOLDER,
    speed: Annotated[float | None, typer.Option(help="Times the real speed of the events; unpaced by default.")] = None,
    limit: Annotated[int | None, typer.Option(help="Send at most so many events.", min=1)] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Begin at the first row again.")] = False,
    state: Annotated[Path | None, typer.Option(help="File that remembers how far the replay is.")] = None,
    rejects: Annotated[Path | None, typer.Option(help="File for rows that are no events, as JSON lines.")] = None,
) -> None:
    """Send files of events to the input topic, in order; goes on where it stopped."""
    from . import work

    logs.set_up(False)
    work.run_replay(
        connect.Deployment(config, name=name, folder=data, definition=definition, broker=broker),
        files,
        mapping,
        topic=topic,
        speed=speed,
        limit=limit,
        restart=restart,
        state=state,
        rejects=rejects,
    )


@app.command()
def backfill(
    files: Annotated[list[Path], typer.Argument(help="CSV, JSON lines or Parquet; .gz too.", show_default=False)],
    definition: Definition = None,
    mapping: Annotated[Path | None, typer.Option("--mapping", "-m", help="How rows become events (TOML).")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write: .parquet or .csv.")] = None,
    at: Annotated[
        Path | None, typer.Option(help="CSV or Parquet of users and times: write their features as of then.")
    ] = None,
    user_column: Annotated[str, typer.Option(help="Column of --at with the user's id.")] = "user_id",
    time_column: Annotated[str, typer.Option(help="Column of --at with the time: ISO, or ms since 1970.")] = "time",
    until: Annotated[
        str | None, typer.Option(help="Leave out events from this time on: ISO, or ms since 1970.")
    ] = None,
    partitions: Annotated[
        int | None, typer.Option(help="Partitions of the deployment; those of the settings by default.")
    ] = None,
    processes: Annotated[int | None, typer.Option(help="Processes; one a core by default.")] = None,
    rejects: Annotated[Path | None, typer.Option(help="File for rows that are no events, as JSON lines.")] = None,
    warm: Annotated[
        bool, typer.Option("--warm", help="Load the profiles into a deployment that has none, before workers start.")
    ] = False,
    config: Config = None,
    broker: Broker = None,
    redis: Redis = None,
    data: Data = connect.DEFAULT_FOLDER,
) -> None:
    """Compute profiles, or features as of given times, from files: offline, by the code that runs live."""
    from . import offline

    logs.set_up(False)
    offline.run_backfill(
        connect.Deployment(config, folder=data, definition=definition, broker=broker, redis=redis),
        files,
        mapping,
        out=out,
        at=at,
        user_column=user_column,
        time_column=time_column,
        until=until,
        partitions=partitions,
        processes=processes,
        rejects=rejects,
        warm=warm,
    )


@app.command(name="evaluate")
def evaluate_command(
    files: Annotated[list[Path], typer.Argument(help="CSV, JSON lines or Parquet; .gz too.", show_default=False)],
    definition: Definition = None,
    mapping: Annotated[Path | None, typer.Option("--mapping", "-m", help="How rows become events (TOML).")] = None,
    target: Annotated[
        list[str] | None, typer.Option("--target", "-t", help="Report this target only; may be given again.")
    ] = None,
    partitions: Annotated[
        int, typer.Option(help="Spread the users over so many partitions, each with models of its own.")
    ] = 1,
    until: Annotated[
        str | None, typer.Option(help="Leave out events from this time on: ISO, or ms since 1970.")
    ] = None,
    slices: Annotated[int, typer.Option(help="Spans of time the stream is cut into.")] = 20,
    html: Annotated[Path | None, typer.Option(help="Write the report as a page with plots.")] = None,
    predictions: Annotated[
        Path | None, typer.Option(help="Write every prediction and its label: .parquet or .csv.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as one JSON object.")] = False,
    config: Config = None,
) -> None:
    """See how good a definition's predictions are on files of events, beside the baselines."""
    from . import evaluate

    logs.set_up(False)
    evaluate.run_evaluate(
        connect.Deployment(config, definition=definition),
        files,
        mapping,
        targets=target or [],
        partitions=partitions,
        until=until,
        slices=slices,
        html=html,
        as_json=as_json,
        predictions=predictions,
    )


@app.command()
def get(
    user: Annotated[str, typer.Argument(help="User id.")],
    definition: Definition = None,
    name: Name = None,
    config: Config = None,
    redis: Redis = None,
    data: Data = connect.DEFAULT_FOLDER,
    now: Annotated[bool, typer.Option("--now", help="Bring decayed values to now.")] = False,
    as_json: Json = False,
) -> None:
    """Print a user's profile from Redis."""
    from . import read

    logs.set_up(False)
    deployment = connect.Deployment(config, name=name, folder=data, definition=definition, redis=redis)
    read.print_profile(deployment, user, now=now, as_json=as_json)


@app.command()
def tail(
    definition: Definition = None,
    name: Name = None,
    config: Config = None,
    broker: Broker = None,
    redis: Redis = None,
    data: Data = connect.DEFAULT_FOLDER,
    user: Annotated[str | None, typer.Option(help="Only this user's changes.")] = None,
    from_beginning: Annotated[bool, typer.Option("--from-beginning", help="All deltas the topic still has.")] = False,
    limit: Annotated[int | None, typer.Option("--limit", "-l", help="Stop after so many.", min=1)] = None,
    as_json: Json = False,
) -> None:
    """Follow the changes of profiles as they happen."""
    from . import read

    logs.set_up(False)
    read.print_deltas(
        connect.Deployment(config, name=name, folder=data, definition=definition, broker=broker, redis=redis),
        user=user,
        from_beginning=from_beginning,
        limit=limit,
        as_json=as_json,
    )


@app.command(name="models")
def models_command(
    definition: Definition = None,
    name: Name = None,
    config: Config = None,
    redis: Redis = None,
    data: Data = connect.DEFAULT_FOLDER,
    partitions: Annotated[bool, typer.Option("--partitions", help="Show each partition's own models too.")] = False,
    as_json: Json = False,
) -> None:
    """Show how good the predictions have been: each target's model beside the baselines."""
    from . import models

    logs.set_up(False)
    deployment = connect.Deployment(config, name=name, folder=data, definition=definition, redis=redis)
    models.print_models(deployment, as_json=as_json, partitions=partitions)


@app.command(name="texts")
def texts_command(
    definition: Definition = None,
    name: Name = None,
    config: Config = None,
    redis: Redis = None,
    data: Data = connect.DEFAULT_FOLDER,
    as_json: Json = False,
) -> None:
    """Show how many texts wait for their vectors, and how the encoders do."""
    from . import texts

    logs.set_up(False)
    deployment = connect.Deployment(config, name=name, folder=data, definition=definition, redis=redis)
    texts.print_texts(deployment, as_json=as_json)


@topics_app.command("create")
def topics_create(
    definition: Definition = None,
    name: Name = None,
    config: Config = None,
    broker: Broker = None,
    data: Data = connect.DEFAULT_FOLDER,
) -> None:
    """Create the topics that are missing, with the right partitions, compaction and retention."""
    from . import topics

    logs.set_up(False)
    topics.create(connect.Deployment(config, name=name, folder=data, definition=definition, broker=broker))


@topics_app.command("check")
def topics_check(
    definition: Definition = None,
    name: Name = None,
    config: Config = None,
    broker: Broker = None,
    data: Data = connect.DEFAULT_FOLDER,
) -> None:
    """Show the topics as they are; exit code 2 when one is missing or wrong."""
    from . import topics

    logs.set_up(False)
    topics.check(connect.Deployment(config, name=name, folder=data, definition=definition, broker=broker))


@app.command()
def schemas(
    folder: Annotated[Path, typer.Argument(help="Where the schema files are.")] = Path("schemas"),
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit code 2 when a file is stale.")] = False,
) -> None:
    """Write the JSON Schemas of the messages."""
    from . import read

    read.write_schemas(folder, check=check)


@app.command()
def check(definition: Annotated[str, typer.Argument(help="path/to/file.py:NAME or module:NAME.")]) -> None:
    """Check a profile definition and show what it is made of."""
    from . import read

    read.print_definition(definition)


def main() -> None:
    """Run the command line. An error of the library's own is one sentence, never a traceback."""
    try:
        app()
    except StreamProfilesError as error:
        message = Text.assemble(("error:", "bold red"), " ", " ".join(str(error).split()))
        output.console(stderr=True).print(message, soft_wrap=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        # Whoever read the output has seen enough, as `head` does; nothing is to be flushed into it any more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
