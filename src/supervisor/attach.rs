//! The broker's side of a start: connection, queues, subscription.

use super::Obstacle;
use crate::config;
use crate::error::Failure;
use crate::pipeline::first_prefetch;
use crate::rabbitmq::{Connection, QueueState, Rabbitmq, Subscription};

/// Connects, finds or declares the queues and subscribes.
pub(super) async fn attach(
    rabbitmq: &Rabbitmq,
    pipeline: &config::Pipeline,
) -> Result<(Connection, Subscription), Obstacle> {
    let connection = rabbitmq.connect(&pipeline.name).await.map_err(|failure| Obstacle::source(&failure))?;
    match subscribe(&connection, pipeline).await {
        Ok(subscription) => Ok((connection, subscription)),
        Err(obstacle) => {
            connection.close().await;
            Err(obstacle)
        }
    }
}

async fn subscribe(connection: &Connection, pipeline: &config::Pipeline) -> Result<Subscription, Obstacle> {
    let source = |failure| Obstacle::source(&failure);
    let missing = connection.queue_exists(&pipeline.queue).await.map_err(source)? == QueueState::Missing;
    match &pipeline.declare {
        // Also where the queue is there: declared but not bound, as after an exchange that was
        // missing, it would look fine and get nothing.
        Some(declare) => {
            connection.declare_source(&pipeline.queue, declare).await.map_err(refused)?;
            if missing {
                tracing::info!(pipeline = pipeline.name, queue = pipeline.queue, "queue declared");
            }
        }
        None if missing => {
            return Err(Obstacle::paused(format!(
                "queue {} is missing: create it, or set `declare` in pipelines.{}",
                pipeline.queue, pipeline.name
            )));
        }
        None => {}
    }
    let dead = &pipeline.dead_letter;
    if connection.queue_exists(&dead.queue).await.map_err(source)? == QueueState::Missing {
        if !dead.declare {
            return Err(Obstacle::paused(format!(
                "dead-letter queue {} is missing: create it, or set `declare = true` in pipelines.{}.dead_letter",
                dead.queue, pipeline.name
            )));
        }
        connection.declare_dead_letter_queue(&dead.queue).await.map_err(refused)?;
        tracing::info!(pipeline = pipeline.name, queue = dead.queue, "dead-letter queue declared");
    }
    connection.subscribe(&pipeline.queue, first_prefetch(pipeline), &tag(pipeline)).await.map_err(source)
}

/// A declaration that the broker refuses waits for somebody to act, any other failure for the broker.
fn refused(failure: Failure) -> Obstacle {
    match failure.code.as_ref() {
        "403" | "404" | "405" | "406" => Obstacle::paused(failure.to_string()),
        _ => Obstacle::source(&failure),
    }
}

/// What operators see in the broker's list of consumers.
fn tag(pipeline: &config::Pipeline) -> String {
    format!("rabbit-sink.{}.{}", pipeline.name, std::process::id())
}
