"""`topics create` and `topics check`."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from ..engine.topics import admin, check_topics, create_topics, plan_topics, require_topics
from .connect import Deployment


def create(deployment: Deployment) -> None:
    """Create the definition's missing topics."""
    plans = plan_topics(deployment.names, deployment.settings)
    with admin(deployment.broker()) as client:
        created = create_topics(client, plans, deployment.settings.replication)
    console = Console()
    for plan in plans:
        done = "created" if plan.name in created else "is there"
        console.print(f"{plan.name}: {done}, {plan.partitions} partitions, {plan.config['cleanup.policy']}")


def check(deployment: Deployment) -> None:
    """Show the definition's topics.

    Raises:
        TopicError: one is missing or wrong.
    """
    plans = plan_topics(deployment.names, deployment.settings)
    table = Table("topic", "partitions", "cleanup", "state", box=None)
    with admin(deployment.broker()) as client:
        for state in check_topics(client, plans):
            partitions = "-" if state.partitions is None else str(state.partitions)
            table.add_row(state.plan.name, partitions, state.plan.config["cleanup.policy"], state.problem or "ok")
        Console().print(table)
        require_topics(client, plans)
