//! `dlq list`: a line per dead letter.

use super::distinct::Distinct;
use super::filter::FilterArgs;
use super::store::Store;
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::{Out, complain};
use crate::config::Pipeline;
use crate::dead_letter::DeadLetterInfo;

/// Letters listed where nobody says how many.
const DEFAULT_LIMIT: u64 = 100;
/// Rows of one table: more of them are printed as several, so that memory is bounded.
const TABLE_ROWS: usize = 1000;
/// Characters of an ID that tell letters apart for people; `dlq show` takes any beginning.
pub(super) const SHORT_ID: usize = 12;
/// Characters of a reason in the table.
const SHORT_REASON: usize = 60;

const HEADER: [&str; 8] = ["ID", "FAILED AT", "CLASS", "CODE", "COLUMN", "REASON", "ATTEMPTS", "REPLAYS"];

/// A table, or an object a line. The pass goes on to its end, so that the order stays as it is.
pub(super) async fn execute(
    store: &mut Store,
    pipeline: &Pipeline,
    filter: &FilterArgs,
    out: &mut Out,
) -> Result<Exit, CliError> {
    filter.check()?;
    let limit = filter.limit.unwrap_or(DEFAULT_LIMIT);
    let (mut listed, mut more) = (0, 0_u64);
    let mut seen = Distinct::default();
    let mut rows = Vec::new();
    let ended = store
        .look("looking", |letter| {
            if !filter.takes(pipeline, letter) || !seen.is_new(&letter.info.id) {
                return;
            }
            if listed == limit {
                more += 1;
                return;
            }
            listed += 1;
            if out.json {
                out.object(&letter.info);
                return;
            }
            rows.push(cells(&letter.info));
            if rows.len() == TABLE_ROWS {
                out.table(&HEADER, rows.drain(..));
            }
        })
        .await?;
    if !rows.is_empty() {
        out.table(&HEADER, rows);
    }
    if !out.json && listed == 0 {
        complain(filter.none());
    }
    if more > 0 {
        complain(&format!("{more} more; --limit says how many are listed"));
    }
    Ok(super::looked(ended))
}

fn cells(info: &DeadLetterInfo) -> Vec<String> {
    let or_dash = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    vec![
        info.id.chars().take(SHORT_ID).collect(),
        or_dash(&info.failed_at),
        or_dash(&info.class),
        or_dash(&info.code),
        or_dash(&info.column),
        first_words(info.reason.as_deref().unwrap_or("-"), SHORT_REASON),
        info.attempts.map_or_else(|| "-".to_owned(), |attempts| attempts.to_string()),
        info.replays.to_string(),
    ]
}

/// The beginning of a reason in one line of so many characters, cut between words where there are any.
pub(super) fn first_words(reason: &str, most: usize) -> String {
    let line = reason.split_whitespace().collect::<Vec<_>>().join(" ");
    let Some((end, _)) = line.char_indices().nth(most) else { return line };
    let cut = &line[..end];
    let cut = cut.rsplit_once(' ').map_or(cut, |(words, _)| words);
    format!("{cut} …")
}

#[cfg(test)]
mod tests {
    use super::super::letter::example;
    use super::*;

    #[test]
    fn a_row_is_one_line_with_a_short_id() {
        assert_eq!(
            cells(&example().info),
            [
                "0123456789ab",
                "2025-11-21T05:28:00Z",
                "mapping",
                "lossy",
                "qty",
                "\"many\" is no whole number",
                "1",
                "0"
            ]
        );
    }

    #[test]
    fn a_long_reason_is_cut_between_words() {
        let cut = first_words(&"word\n".repeat(100), SHORT_REASON);
        assert!(cut.ends_with("word …") && cut.chars().count() <= SHORT_REASON + 2, "{cut}");
        assert_eq!(first_words(&"ü".repeat(100), SHORT_REASON).chars().count(), SHORT_REASON + 2);
    }

    #[test]
    fn json_has_the_promised_fields_in_their_order() {
        assert_eq!(
            serde_json::to_string(&example().info).unwrap(),
            r#"{"id":"0123456789abcdef0123456789abcdef","message_id":"m-17","failed_at":"2025-11-21T05:28:00Z","class":"mapping","code":"lossy","column":"qty","reason":"\"many\" is no whole number","attempts":1,"replays":0,"pipeline":"orders","queue":"orders","table":"orders"}"#
        );
    }
}
