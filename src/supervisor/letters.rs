//! Keeps an eye on the dead letters that wait.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use crate::config::DeadLetter;
use crate::error::Failure;
use crate::pipeline::Context;
use crate::rabbitmq::{Connection, QueueState};
use crate::status::LettersWaiting;

const EVERY: Duration = Duration::from_secs(60);
/// A look takes this long at most; dropped after that, its connection to a database goes with it.
const LOOK: Duration = Duration::from_secs(30);

/// Looks at once and then every minute, for one consumer of a pipeline. Never ends.
pub(super) async fn watch(connection: &Connection, context: &Context, consumer: usize) -> Infallible {
    if consumer > 0 {
        return std::future::pending().await;
    }
    loop {
        match tokio::time::timeout(LOOK, look(connection, context)).await {
            Ok(Ok(Some(letters))) => context.status.stock.saw_letters(letters, Instant::now()),
            // Whatever is wrong there is the business of those who write letters; here it isn't known then.
            Ok(Ok(None)) | Err(_) => {}
            Ok(Err(failure)) => {
                tracing::debug!(pipeline = context.config.name, "dead letters not counted: {failure}");
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// A queue tells how many there are, but not since when: looking at a message costs it a delivery.
async fn look(connection: &Connection, context: &Context) -> Result<Option<LettersWaiting>, Failure> {
    match &context.config.dead_letter {
        DeadLetter::Queue { name, .. } => Ok(match connection.queue_exists(name).await? {
            QueueState::Present { ready, .. } => Some(LettersWaiting { count: ready, oldest: None }),
            QueueState::Missing => None,
        }),
        DeadLetter::Table(table) => {
            let mut session = context.database.connect().await?;
            let waiting = match session.letters(table) {
                Some(mut letters) => Some(letters.waiting(&context.config.name).await?),
                None => None,
            };
            session.close().await;
            Ok(waiting)
        }
    }
}
