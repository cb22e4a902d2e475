CREATE TABLE orders (
    order_id  text          PRIMARY KEY,
    customer  text          NOT NULL,
    quantity  int           NOT NULL CHECK (quantity > 0),
    price     numeric(10,2) NOT NULL,
    placed_at timestamptz   NOT NULL,
    payload   jsonb         NOT NULL
);
