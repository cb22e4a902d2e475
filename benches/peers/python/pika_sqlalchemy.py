"""pika and SQLAlchemy: batches of up to 1,000, one INSERT of many rows each, acked after the commit."""

import os

import orjson
import pika
from sqlalchemy import BigInteger, Boolean, Column, DateTime, Float, Integer, MetaData, Numeric, Table, Text, Uuid
from sqlalchemy import create_engine
from sqlalchemy.dialects.postgresql import insert

BATCH = 1_000

orders = Table(
    "orders",
    MetaData(),
    Column("order_id", BigInteger, primary_key=True),
    Column("event_id", Uuid(as_uuid=False)),
    Column("customer", Text),
    Column("country", Text),
    Column("quantity", Integer),
    Column("price", Numeric(12, 2)),
    Column("weight", Float),
    Column("paid", Boolean),
    Column("placed_at", DateTime(timezone=True)),
    Column("note", Text),
)


def main() -> None:
    url = os.environ["DATABASE_URL"].replace("postgres://", "postgresql+psycopg2://", 1)
    engine = create_engine(url, insertmanyvalues_page_size=BATCH)
    statement = insert(orders).on_conflict_do_nothing(index_elements=["order_id"])
    channel = pika.BlockingConnection(pika.URLParameters(os.environ["AMQP_URL"])).channel()
    channel.basic_qos(prefetch_count=2 * BATCH)

    batch, last = [], 0
    # Without a message for so many seconds what has gathered is written.
    for method, _, body in channel.consume(os.environ["QUEUE"], inactivity_timeout=0.02):
        if method is not None:
            batch.append(orjson.loads(body))
            last = method.delivery_tag
        if len(batch) == BATCH or (method is None and batch):
            with engine.begin() as connection:
                connection.execute(statement, batch)
            channel.basic_ack(last, multiple=True)
            batch = []


main()
