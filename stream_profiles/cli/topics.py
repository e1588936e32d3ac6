"""`topics create` and `topics check`."""

from __future__ import annotations

from rich.table import Table

from ..engine.topics import check_topics, create_topics, plan_topics, require_topics
from . import output
from .connect import Deployment, kafka_admin


def create(deployment: Deployment) -> None:
    """Create the definition's missing topics.

    Raises:
        TopicError: an existing one is wrong, or Kafka refuses.
    """
    # Who only names the profiles may have texts in them.
    texts = deployment.texts is not False
    plans = plan_topics(deployment.names, deployment.settings, texts=texts)
    with kafka_admin(deployment.broker()) as client:
        created = create_topics(client, plans, deployment.settings.replication)
    console = output.console()
    for plan in plans:
        done = "created" if plan.name in created else "is there"
        console.print(f"{plan.name}: {done}, {plan.partitions} partitions, {plan.config['cleanup.policy']}")


def check(deployment: Deployment) -> None:
    """Show the definition's topics.

    Raises:
        TopicError: one is missing or wrong.
    """
    plans = plan_topics(deployment.names, deployment.settings, texts=deployment.texts is True)
    table = Table("topic", "partitions", "cleanup", "state", box=None)
    with kafka_admin(deployment.broker()) as client:
        for state in check_topics(client, plans):
            partitions = "-" if state.partitions is None else str(state.partitions)
            table.add_row(state.plan.name, partitions, state.plan.config["cleanup.policy"], state.problem or "ok")
        output.console().print(table)
        require_topics(client, plans)
