//! After messages were given back: what kept them from being settled must have passed before any
//! is taken again.

use super::Obstacle;
use super::letter_box::QueueLetters;
use crate::checks::Prepared;
use crate::config::DeadLetter;
use crate::message::{Delivery, Unit};
use crate::pipeline::{Context, Hindrance, LetterBox, Rejection, letter_unit};
use crate::rabbitmq::Rabbitmq;
use crate::status::Reason;
use crate::writer::Writer;

/// Tries what failed once more, with nothing taken from the queue: a rehearsal of the rows, and
/// the dead letter itself, which then is there once more than it has to be.
pub(super) async fn passed(
    hindrance: &mut Hindrance,
    context: &Context,
    prepared: &Prepared,
    rabbitmq: &Rabbitmq,
    consumer: usize,
) -> Result<(), Obstacle> {
    // What mapping refuses by now is a dead letter and keeps nobody from going on.
    let units: Vec<Unit> =
        hindrance.deliveries.iter().filter_map(|delivery| prepared.plan.map(again(delivery)).ok()).collect();
    if !units.is_empty() {
        let mut writer = Writer::new(context.database.clone(), &context.database_config);
        let rehearsed = writer.rehearse(&prepared.plan.write, &units).await;
        writer.close().await;
        rehearsed.map_err(|failure| Obstacle::holding(Reason::from(&failure)))?;
    }
    hindrance.deliveries.clear();
    if let Some(letter) = &hindrance.letter {
        dead_lettered(letter, context, prepared, rabbitmq, consumer).await?;
    }
    hindrance.letter = None;
    Ok(())
}

async fn dead_lettered(
    letter: &Rejection,
    context: &Context,
    prepared: &Prepared,
    rabbitmq: &Rabbitmq,
    consumer: usize,
) -> Result<(), Obstacle> {
    let done = match &context.config.dead_letter {
        DeadLetter::Queue { .. } => {
            let mut letters = QueueLetters::new(rabbitmq, context, consumer);
            let published = letters.publish(std::slice::from_ref(letter)).await;
            letters.close().await;
            published.into_iter().next().unwrap_or(Ok(()))
        }
        DeadLetter::Table(_) => {
            let mut writer = Writer::new(context.database.clone(), &context.database_config);
            let unit = letter_unit(&context.config, letter.clone());
            let rehearsed = writer.rehearse(&prepared.plan.write, &[unit]).await;
            writer.close().await;
            rehearsed
        }
    };
    done.map_err(|failure| {
        Obstacle::holding(Reason::from(&failure).told(format!("dead letters can't be written: {failure}")))
    })
}

fn again(delivery: &Delivery) -> Delivery {
    Delivery { tag: delivery.tag, arrived: delivery.arrived, envelope: delivery.envelope.clone() }
}
