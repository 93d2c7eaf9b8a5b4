"""Constructs what `verify`, `replay` and `dead-letters` work with."""

from dataclasses import replace
from pathlib import Path

from worker.assembly.handling import (
    batched,
    dead_letter_reader,
    decider,
    live_mapping,
    monitors,
    outgoing_records,
    prediction,
    reader,
    retry_policy,
)
from worker.assembly.kafka_clients import output_topics
from worker.db.operators_database import OperatorsDatabase
from worker.dead_letters.originals import Originals
from worker.dead_letters.planning import Planning
from worker.dead_letters.redrive import Edges
from worker.dead_letters.workers import GroupWorkers
from worker.kafka.publisher import KafkaPublisher
from worker.kafka.topic_reader import KafkaTopicReader
from worker.pipeline.breaker import Breaker
from worker.pipeline.delivery import Delivery
from worker.pipeline.outgoing import Topics
from worker.pipeline.publish import PublishStep
from worker.pipeline.retry import Retries
from worker.ports import Publisher, Store
from worker.replay.execution import CountingPublisher, Handling, NoRecords
from worker.service.clock import SystemClock
from worker.service.no_tracing import NoTracing
from worker.settings import Settings
from worker.telemetry import Metrics
from worker.verify.verification import Plan


def verification_plan(settings: Settings, *, findings_max: int, scratch_folder: Path | None) -> Plan:
    """Raises ConfigurationError: the mapping file cannot be read."""
    mapping = live_mapping(settings)
    return Plan(
        input_topics=settings.input_topics,
        topics=output_topics(settings),
        source=settings.event_source,
        event_bytes_max=settings.event_bytes_max,
        event_ahead_max_seconds=settings.event_ahead_max_seconds,
        findings_max=findings_max,
        scratch_folder=scratch_folder,
        mapping=None if mapping is None else mapping.current,
    )


def replay_handling(
    settings: Settings, database: Store, producer: Publisher | None, *, publish_to: str | None = None
) -> Handling:
    """The handling of a replay. `producer`: None publishes nothing. `publish_to`: the topic of all records. States are
    not published: a worker may publish a later one meanwhile, and the last one of a key stays.
    """
    clock, metrics, policy = SystemClock(), Metrics(), retry_policy(settings)
    counted = CountingPublisher(producer)
    outgoing = outgoing_records(settings)
    topics = replace(outgoing.topics, deployment_state=None)
    if publish_to is not None:
        topics = Topics(deployment_status=publish_to, release_status=publish_to, dead_letters=publish_to)
    outgoing = replace(outgoing, topics=topics)
    if producer is None:
        outgoing = NoRecords(
            topics=outgoing.topics, content_mode=outgoing.content_mode, source=outgoing.source, worker=outgoing.worker
        )
    dependency_monitors = monitors(settings, database.ping, counted, clock=clock, metrics=metrics)
    batched_store = batched(settings, database)
    return Handling(
        read=reader(settings),
        delivery=Delivery(
            store=batched_store,
            publisher=counted,
            outgoing=outgoing,
            policy=policy,
            monitors=dependency_monitors,
            breaker=Breaker(events=0, rejected_share_max=0.0),
            decider=decider(settings),
            tracer=NoTracing(),
            clock=clock,
            metrics=metrics,
        ),
        publish_step=PublishStep(
            publisher=counted,
            outgoing=outgoing,
            retries=Retries(policy, clock=clock, metrics=metrics),
            monitor=dependency_monitors.broker,
            attempts_max=policy.attempts_max,
        ),
        publisher=counted,
        monitors=dependency_monitors,
        concurrency=settings.concurrency,
        run_batches=batched_store.run,
    )


def originals(settings: Settings, topics: KafkaTopicReader) -> Originals:
    """Of rejected records."""
    return Originals(topics, dead_letter_reader(settings), dead_letter_topic=settings.dead_letter_topic)


def redrive_planning(settings: Settings, database: OperatorsDatabase, topics: KafkaTopicReader) -> Planning:
    return Planning(
        originals=originals(settings, topics),
        reader=topics,
        decode=dead_letter_reader(settings),
        prediction=prediction(settings, database.tables),
    )


def redrive_edges(
    settings: Settings, database: OperatorsDatabase, topics: KafkaTopicReader, producer: KafkaPublisher
) -> Edges:
    """What `dead-letters redrive --execute` works with."""
    return Edges(
        journal=database.redrives,
        topics=topics,
        originals=originals(settings, topics),
        producer=producer,
        decisions=database.tables,
        workers=GroupWorkers(topics, database.openings, group_id=settings.group_id, topics=settings.input_topics),
        decode=dead_letter_reader(settings),
        clock=SystemClock(),
    )
