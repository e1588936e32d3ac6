"""A real Apache Kafka for development: one broker in KRaft mode, started in seconds, gone with its process.

Its programs come from `_jars.py`, its Java from `_java.py`, its life and death from `_server.py`. It is made for
tests, demonstrations and one machine: everything is kept once and nothing is flushed to disk before it is
acknowledged.
"""

from __future__ import annotations

import base64
import os
import re
import uuid
from pathlib import Path

from kafka import KafkaAdminClient
from kafka.errors import KafkaError
from rich.console import Console

from ._jars import KAFKA_VERSION, kafka_jars
from ._java import find_java
from ._server import HOST, EmbeddedServer, free_port

# The serial collector and the first compiler alone: measured, they start a third sooner than the defaults, cost the
# broker less CPU for each message and are no slower on two cores, where Python has the rest.
JVM_OPTIONS = (
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:-UsePerfData",
    "-Djava.awt.headless=true",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
)

SETTINGS = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=data

# One broker: everything is kept once, and the internal topics have few partitions to create.
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1

# Topics are made on purpose, with the partitions they need; data stays until it is thrown away as a whole.
auto.create.topics.enable=false
log.retention.ms=-1
message.max.bytes=16777216
replica.fetch.max.bytes=16777216

# Groups start at once, and a test may kill a worker and see its successor soon.
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000

# The cleaner of compacted topics would take 128 MiB of the heap.
log.cleaner.dedupe.buffer.size=16777216
"""


class EmbeddedKafka(EmbeddedServer):
    """A real single-node Kafka, on a free port of 127.0.0.1, that ends when this process does.

    Args:
        folder: Where topics are kept, and found again at the next start. By default a temporary folder that is
            removed at the end.
        console: Where the progress of the first download is shown; standard error by default.
        heap: The most memory its Java heap takes, as `java -Xmx` writes it.

    Raises:
        EmbeddedServerError: at the start: no Java, no download, no start, or the folder is in use.

    Examples:
        >>> with EmbeddedKafka() as kafka:  # doctest: +SKIP
        ...     producer = KafkaProducer(bootstrap_servers=kafka.bootstrap)
    """

    name = "Kafka"

    def __init__(self, folder: Path | None = None, *, console: Console | None = None, heap: str = "512m") -> None:
        super().__init__(folder, console=console)
        self._heap = heap
        self._java = Path()
        self._jars: list[Path] = []
        self._cluster_id = ""

    @property
    def bootstrap(self) -> str:
        """The address for `bootstrap_servers`: host and port."""
        return self.address

    @property
    def description(self) -> str:
        """Version and address."""
        return f"Kafka {KAFKA_VERSION} on {self.address}"

    def _prepare(self) -> None:
        self._java = find_java()
        self._jars = kafka_jars(self.console)

    def _commands(self, folder: Path, port: int) -> list[list[str]]:
        settings = folder / "kafka.properties"
        settings.write_text(SETTINGS.format(host=HOST, port=port, controller_port=free_port()))
        java = [str(self._java), f"-Xmx{self._heap}", *JVM_OPTIONS, "-cp", os.pathsep.join(map(str, self._jars))]
        serve = [*java, "kafka.Kafka", settings.name]
        if known := cluster_id_of(folder / "data"):
            self._cluster_id = known
            return [serve]
        self._cluster_id = new_cluster_id()
        # `--ignore-formatted`: an earlier format may have been interrupted.
        options = ["--ignore-formatted", "--cluster-id", self._cluster_id, "--config", settings.name]
        return [[*java, "kafka.tools.StorageTool", "format", *options], serve]

    def _answers(self) -> bool:
        try:
            admin = KafkaAdminClient(bootstrap_servers=self.address, bootstrap_timeout_ms=2_000)
        except (KafkaError, OSError):
            return False
        try:
            cluster = admin.describe_cluster()
        except (KafkaError, OSError):
            return False
        finally:
            admin.close()
        # By its id, for another's Kafka may have taken the port.
        mine = cluster["cluster_id"] == self._cluster_id
        return mine and any(not broker.get("is_fenced") for broker in cluster["brokers"])


def new_cluster_id() -> str:
    """A random id in Kafka's way of writing it: the 16 bytes of a UUID in URL-safe base 64."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        if not text.startswith("-"):  # which the storage tool would take for an option
            return text


def cluster_id_of(data: Path) -> str | None:
    """The id of the cluster whose data a folder has, or None if it has none yet."""
    try:
        properties = (data / "meta.properties").read_text()
    except OSError:
        return None
    match = re.search(r"^cluster\.id=(.+)$", properties, re.MULTILINE)
    return match[1].strip() if match else None
