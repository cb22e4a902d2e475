//! The broker's side of a start: connection, queues, subscription.

use tokio::sync::Mutex;

use super::Obstacle;
use crate::checks::{self, Level};
use crate::config::{self, DeadLetter};
use crate::error::{ErrorClass, Failure};
use crate::guarantee::{self, Gap};
use crate::pipeline::{Context, first_prefetch};
use crate::rabbitmq::{Connection, QueueState, Rabbitmq, Subscription};
use crate::status::Reason;

/// Connects, finds or declares the queues, checks them once and subscribes. `weaknesses`: what the database's side says
/// against the guarantee.
pub(super) async fn attach(
    rabbitmq: &Rabbitmq,
    context: &Context,
    looked: &Mutex<bool>,
    weaknesses: &[String],
) -> Result<(Connection, Subscription), Obstacle> {
    let pipeline = &context.config;
    let connection = rabbitmq.connect(&pipeline.name).await.map_err(|failure| Obstacle::source(&failure))?;
    let attached = async {
        find_queues(&connection, pipeline).await?;
        look_once(rabbitmq, &connection, context, looked, weaknesses).await?;
        let subscribed = connection.subscribe(&pipeline.queue, first_prefetch(pipeline), &tag(pipeline)).await;
        let mut subscription = subscribed.map_err(|failure| Obstacle::source(&failure))?;
        if pipeline.single_active_consumer {
            subscription.keep_turn();
        }
        Ok(subscription)
    };
    match attached.await {
        Ok(subscription) => Ok((connection, subscription)),
        Err(obstacle) => {
            connection.close().await;
            Err(obstacle)
        }
    }
}

/// The same checks as `rabbit-sink check`, once for each pipeline of a process: each asks the
/// broker for what it must refuse, which stands in its log. Then the guarantee can be stated.
async fn look_once(
    rabbitmq: &Rabbitmq,
    connection: &Connection,
    context: &Context,
    looked: &Mutex<bool>,
    weaknesses: &[String],
) -> Result<(), Obstacle> {
    let pipeline = &context.config;
    let mut looked = looked.lock().await;
    if *looked {
        return Ok(());
    }
    let side = checks::look_at_queues(connection, rabbitmq, rabbitmq.config(), pipeline).await;
    let mut findings = side.findings;
    findings.extend(checks::demanded(pipeline, &side.gaps));
    for warning in findings.iter().filter(|finding| finding.level == Level::Warning) {
        tracing::warn!(pipeline = pipeline.name, "{}", warning.sentence());
    }
    match findings.iter().find(|finding| finding.level == Level::Unreachable) {
        // The connection went while it was looked at.
        Some(lost) => {
            Err(Obstacle::source(&lost.failure.clone().unwrap_or_else(|| lost_while_looking(lost.sentence()))))
        }
        None => match checks::stopping(&findings) {
            Some(failure) => Err(Obstacle::paused(Reason::from(&failure))),
            None => {
                *looked = true;
                let guarantee = state_guarantee(context, weaknesses, &side.gaps, side.known);
                tracing::info!(pipeline = pipeline.name, "guarantee: {guarantee}");
                Ok(())
            }
        },
    }
}

/// Keeps the guarantee's line for the worker's status. `known`: the broker has told what of the queue may speak against
/// it.
pub(super) fn state_guarantee(context: &Context, weaknesses: &[String], gaps: &[Gap], known: bool) -> String {
    let weak: Vec<String> = weaknesses.iter().cloned().chain(gaps.iter().map(|gap| gap.what.clone())).collect();
    let guarantee = guarantee::of(&context.config, &context.database_config, &weak, !known);
    *context.status.guarantee.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(guarantee.clone());
    guarantee
}

fn lost_while_looking(sentence: String) -> Failure {
    Failure::new(ErrorClass::SourceLost, "checks", sentence)
}

async fn find_queues(connection: &Connection, pipeline: &config::Pipeline) -> Result<(), Obstacle> {
    let source = |failure| Obstacle::source(&failure);
    let missing = connection.queue_exists(&pipeline.queue).await.map_err(source)? == QueueState::Missing;
    match &pipeline.declare {
        // Also where the queue is there: declared but not bound, as after an exchange that was
        // missing, it would look fine and get nothing.
        Some(declare) => {
            connection
                .declare_source(&pipeline.queue, declare, pipeline.single_active_consumer)
                .await
                .map_err(refused)?;
            if missing {
                tracing::info!(pipeline = pipeline.name, queue = pipeline.queue, "queue declared");
            }
        }
        None if missing => {
            let text = format!(
                "queue {} is missing: create it, or set `declare` in pipelines.{}",
                pipeline.queue, pipeline.name
            );
            return Err(Obstacle::paused(Reason::new(ErrorClass::SourceLost, "queue_missing", text)));
        }
        None => {}
    }
    match &pipeline.dead_letter {
        DeadLetter::Queue { name, declare } => find_dead_letter_queue(connection, pipeline, name, *declare).await,
        DeadLetter::Table(_) => Ok(()),
    }
}

async fn find_dead_letter_queue(
    connection: &Connection,
    pipeline: &config::Pipeline,
    queue: &str,
    declare: bool,
) -> Result<(), Obstacle> {
    let found = connection.queue_exists(queue).await.map_err(|failure| Obstacle::source(&failure))?;
    if found != QueueState::Missing {
        return Ok(());
    }
    if !declare {
        let text = format!(
            "dead-letter queue {queue} is missing: create it, or set `declare = true` in pipelines.{}.dead_letter",
            pipeline.name
        );
        return Err(Obstacle::paused(Reason::new(ErrorClass::DeadLetterFailed, "queue_missing", text)));
    }
    connection.declare_dead_letter_queue(queue).await.map_err(refused)?;
    tracing::info!(pipeline = pipeline.name, queue, "dead-letter queue declared");
    Ok(())
}

/// A declaration that the broker refuses waits for somebody to act, any other failure for the broker.
fn refused(failure: Failure) -> Obstacle {
    match failure.code.as_ref() {
        "403" | "404" | "405" | "406" => Obstacle::paused(Reason::from(&failure)),
        _ => Obstacle::source(&failure),
    }
}

/// What operators see in the broker's list of consumers.
fn tag(pipeline: &config::Pipeline) -> String {
    format!("rabbit-sink.{}.{}", pipeline.name, std::process::id())
}
