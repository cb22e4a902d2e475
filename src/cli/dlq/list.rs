//! `dlq list`: a line per dead letter.

use super::letter::DeadLetterRow;
use crate::cli::output::Out;

/// Characters of an ID that tell letters apart for people; `dlq show` takes any beginning.
const SHORT_ID: usize = 12;
/// Characters of a reason in the table.
const SHORT_REASON: usize = 60;

const HEADER: [&str; 8] = ["ID", "FAILED AT", "CLASS", "CODE", "COLUMN", "REASON", "ATTEMPTS", "REPLAYS"];

/// A table, or an object a line.
pub(super) fn print(rows: &[DeadLetterRow], out: &mut Out) {
    if out.json {
        rows.iter().for_each(|row| out.object(row));
    } else if rows.is_empty() {
        crate::cli::output::complain("no dead letters");
    } else {
        out.table(&HEADER, rows.iter().map(cells));
    }
}

fn cells(row: &DeadLetterRow) -> Vec<String> {
    let or_dash = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    vec![
        row.id.chars().take(SHORT_ID).collect(),
        or_dash(&row.failed_at),
        or_dash(&row.class),
        or_dash(&row.code),
        or_dash(&row.column),
        first_words(row.reason.as_deref().unwrap_or("-")),
        row.attempts.map_or_else(|| "-".to_owned(), |attempts| attempts.to_string()),
        row.replays.to_string(),
    ]
}

/// The beginning of a reason in one line, cut between words where there are any.
fn first_words(reason: &str) -> String {
    let line = reason.split_whitespace().collect::<Vec<_>>().join(" ");
    let Some((end, _)) = line.char_indices().nth(SHORT_REASON) else { return line };
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
        let row = example().row;
        assert_eq!(
            cells(&row),
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
        let cut = first_words(&"word\n".repeat(100));
        assert!(cut.ends_with("word …") && cut.chars().count() <= SHORT_REASON + 2, "{cut}");
        assert_eq!(first_words(&"ü".repeat(100)).chars().count(), SHORT_REASON + 2);
    }

    #[test]
    fn json_has_the_promised_fields_in_their_order() {
        assert_eq!(
            serde_json::to_string(&example().row).unwrap(),
            r#"{"id":"0123456789abcdef0123456789abcdef","message_id":"m-17","failed_at":"2025-11-21T05:28:00Z","class":"mapping","code":"lossy","column":"qty","reason":"\"many\" is no whole number","attempts":1,"replays":0,"pipeline":"orders","queue":"orders","table":"orders"}"#
        );
    }
}
