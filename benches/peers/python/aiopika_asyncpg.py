"""aio-pika and asyncpg: batches of up to 1,000, one INSERT from arrays each, acked after the commit."""

import asyncio
import os
from datetime import datetime
from decimal import Decimal

import aio_pika
import asyncpg
import orjson
import uvloop

BATCH = 1_000

INSERT = """
INSERT INTO orders (order_id, event_id, customer, country, quantity, price, weight, paid, placed_at, note)
SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::text[], $5::int[], $6::numeric[], $7::float8[],
                     $8::boolean[], $9::timestamptz[], $10::text[])
ON CONFLICT (order_id) DO NOTHING
"""


def row(body: bytes) -> tuple:
    order = orjson.loads(body)
    return (
        order["order_id"],
        order["event_id"],
        order["customer"],
        order["country"],
        order["quantity"],
        Decimal(repr(order["price"])),
        order["weight"],
        order["paid"],
        datetime.fromisoformat(order["placed_at"]),
        order["note"],
    )


async def main() -> None:
    database = await asyncpg.connect(os.environ["DATABASE_URL"])
    insert = await database.prepare(INSERT)
    connection = await aio_pika.connect_robust(os.environ["AMQP_URL"])
    channel = await connection.channel()
    await channel.set_qos(prefetch_count=2 * BATCH)
    waiting: asyncio.Queue = asyncio.Queue()
    queue = await channel.get_queue(os.environ["QUEUE"])
    await queue.consume(waiting.put)
    while True:
        messages = [await waiting.get()]
        while len(messages) < BATCH and not waiting.empty():
            messages.append(waiting.get_nowait())
        columns = zip(*(row(message.body) for message in messages))
        await insert.fetch(*(list(column) for column in columns))
        await messages[-1].ack(multiple=True)


uvloop.run(main())
