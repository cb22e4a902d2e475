//! mq-bridge's own way: a route in a file. The insert names a conflict target, so that a repeat writes nothing, and
//! casts what the library binds as text.

use std::error::Error;

const ROUTE: &str = r#"
orders:
  batch_size: 1000
  input:
    amqp:
      url: "AMQP_URL"
      queue: "QUEUE"
      prefetch_count: 2000
  output:
    sqlx:
      url: "DATABASE_URL"
      table: "orders"
      insert_query: >-
        INSERT INTO orders (order_id, event_id, customer, country, quantity, price, weight, paid, placed_at, note)
        VALUES (${payload:order_id}::bigint, ${payload:event_id}::uuid, ${payload:customer}, ${payload:country},
        ${payload:quantity}::int, ${payload:price}::numeric, ${payload:weight}::float8, ${payload:paid}::boolean,
        ${payload:placed_at}::timestamptz, ${payload:note}) ON CONFLICT (order_id) DO NOTHING
"#;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut route = ROUTE.to_owned();
    for name in ["AMQP_URL", "DATABASE_URL", "QUEUE"] {
        route = route.replace(name, &std::env::var(name)?);
    }
    let file = std::env::temp_dir().join(format!("mq-bridge-peer-{}.yaml", std::process::id()));
    std::fs::write(&file, route)?;
    mq_bridge::deploy_file(&file).await?;
    std::fs::remove_file(&file)?;
    std::future::pending().await
}
