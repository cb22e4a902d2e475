//! What a changing command is about, fixed before it changes anything: letters that arrive or come
//! back later don't belong to it.

use std::io::{BufRead, IsTerminal, Write};

use super::filter::FilterArgs;
use super::letter::Letter;
use super::store::{Acted, Ended, Fate, Store};
use crate::cli::exit::CliError;
use crate::cli::output::complain;
use crate::config::Pipeline;
use crate::rabbitmq::AT_ONCE;
use crate::shutdown::{Phase, Shutdown, reached};

/// Letters that bear a mark. It stands in the letters themselves, so that it takes no memory and
/// survives whatever passes come.
#[derive(Clone, Debug)]
pub(super) struct FixedSet {
    /// What the letters bear.
    pub mark: String,
    /// How many.
    pub count: u64,
}

impl FixedSet {
    pub(super) fn has(&self, letter: &Letter) -> bool {
        letter.set.as_ref() == Some(&self.mark)
    }
}

/// Goes through all letters and marks those that the filter takes and `fit` agrees to. `None`: it was
/// interrupted.
pub(super) async fn fix(
    store: &mut Store,
    pipeline: &Pipeline,
    filter: &FilterArgs,
    mut fit: impl FnMut(&Letter) -> bool,
) -> Result<Option<FixedSet>, CliError> {
    filter.check()?;
    let limit = filter.limit.unwrap_or(u64::MAX);
    let (mut count, mut found) = (0, false);
    let mut choose = |letter: &Letter| {
        let takes = count < limit && filter.takes(pipeline, letter);
        found |= takes;
        let chosen = takes && fit(letter);
        count += u64::from(chosen);
        if chosen { Fate::Chosen } else { Fate::Stay }
    };
    let mut mark = None;
    let ended = store
        .pass("choosing", AT_ONCE, async |store, letters| {
            mark.get_or_insert_with(|| store.mark());
            Acted::all(letters.into_iter().map(&mut choose).collect())
        })
        .await?;
    if ended == Ended::Complete && !found {
        complain(filter.none());
    }
    Ok(match ended {
        Ended::Complete => Some(FixedSet { mark: mark.unwrap_or_default(), count }),
        Ended::Interrupted => None,
    })
}

/// Asks on the terminal, unless `yes`. A signal is a no. Where nobody can be asked, the answer is an error.
pub(super) async fn confirmed(yes: bool, question: &str, mut shutdown: Shutdown) -> Result<bool, CliError> {
    if yes {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() {
        let message = format!("{question}\nnobody is there to answer (stdin is no terminal): say --yes");
        return Err(CliError::usage(message));
    }
    let question = super::super::escape::escape_lines(question);
    // The broker's heartbeats go on meanwhile.
    let asked = tokio::task::spawn_blocking(move || {
        // Locked for the question only: whoever waits for the answer may have to say something, too.
        let asked = write!(std::io::stderr(), "{question} [y/N] ").and_then(|()| std::io::stderr().flush());
        drop(asked);
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer).map(|_| answer)
    });
    let answer = tokio::select! {
        answer = asked => answer,
        () = reached(&mut shutdown, Phase::Drain) => return Ok(false),
    };
    match answer {
        Ok(Ok(answer)) => Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")),
        _ => Err(CliError::failed("the answer can't be read")),
    }
}
