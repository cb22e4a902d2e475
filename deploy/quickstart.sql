CREATE TABLE orders (
    order_id    TEXT PRIMARY KEY NOT NULL,
    customer    TEXT NOT NULL,
    item        TEXT NOT NULL,
    quantity    INTEGER NOT NULL CHECK (quantity > 0),
    price_cents INTEGER NOT NULL,
    channel     TEXT NOT NULL
);
