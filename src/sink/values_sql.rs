//! `INSERT … VALUES (…),(…)` for databases that bind every value on its own, and into how many
//! statements a batch is cut.

use std::fmt::Write;

use crate::plan::Target;

/// So many rows go in one statement whatever their number: where batches are small, a message's wait is
/// round trips.
const FEW: usize = 32;

/// Prepared statements that a session keeps: those of all sizes for the ledger and for rows of two shapes. Each
/// costs memory on a server; MySQL has 16,382 of them for all sessions by default.
pub(super) const STATEMENTS: usize = 160;

/// The rows of the next statement: `most`, a few as they are, or else four, five, six or seven times a power of two,
/// so that batches of all sizes together need not too many different texts, each of which is prepared once, and a
/// batch not too many statements. At most `remaining`; one row always goes.
pub(super) fn statement_rows(remaining: usize, most: usize) -> usize {
    match remaining {
        0 => 0,
        _ if remaining >= most => most.max(1),
        _ if remaining <= FEW => remaining,
        _ => remaining & (0b111 << (remaining.ilog2() - 2)),
    }
}

/// The rows of the next statement where bytes count, too: `sizes` are those of the remaining rows.
/// One row always goes.
#[cfg(feature = "mysql")]
pub(super) fn rows_within(sizes: &[usize], most: usize, limit: usize) -> usize {
    let mut rows = statement_rows(sizes.len(), most);
    while rows > 1 && sizes[..rows].iter().sum::<usize>() > limit {
        rows = statement_rows(rows / 2, most);
    }
    rows
}

/// How many rows a statement may have at most, `values` bound values each, under a bind limit.
pub(super) fn most_rows(bind_limit: usize, values: usize) -> usize {
    bind_limit / values.max(1)
}

/// A multi-row INSERT that only lacks its number of rows.
pub(super) struct Insert {
    head: String,
    row: String,
}

impl Insert {
    /// Into these columns of a target, with the expressions that stand around its values.
    pub(super) fn new(target: &Target, columns: &[usize], quote: fn(&str) -> String, table: &str) -> Self {
        let names: Vec<String> = columns.iter().map(|&at| quote(&target.columns[at].name)).collect();
        let values: Vec<&str> = columns.iter().map(|&at| placeholder(target, at)).collect();
        Insert {
            head: format!("INSERT INTO {table} ({}) VALUES ", names.join(",")),
            row: format!("({})", values.join(",")),
        }
    }

    /// With its own column list and row.
    pub(super) fn raw(head: String, row: String) -> Self {
        Insert { head, row }
    }

    /// Bytes of text that each row costs.
    #[cfg(feature = "mysql")]
    pub(super) fn row_length(&self) -> usize {
        self.row.len() + 1
    }

    /// Bytes of text before the rows.
    #[cfg(feature = "mysql")]
    pub(super) fn head_length(&self) -> usize {
        self.head.len()
    }

    /// The statement for this many rows.
    pub(super) fn text(&self, rows: usize) -> String {
        let mut text = String::with_capacity(self.head.len() + rows * (self.row.len() + 1));
        text.push_str(&self.head);
        push_repeated(&mut text, &self.row, rows);
        text
    }
}

/// `?`, or the column's expression around it.
pub(super) fn placeholder(target: &Target, column: usize) -> &str {
    target.expressions.get(column).and_then(Option::as_deref).unwrap_or("?")
}

/// `part,part,part`
pub(super) fn push_repeated(text: &mut String, part: &str, times: usize) {
    for at in 0..times {
        if at > 0 {
            text.push(',');
        }
        text.push_str(part);
    }
}

/// `INSERT INTO t (a,b) SELECT NULL,NULL … WHERE FALSE`: what a server that can't write, or not
/// there, refuses, and that writes nothing.
pub(super) fn insert_nothing(target: &Target, quote: fn(&str) -> String, table: &str, from: &str) -> String {
    let mut text = format!("INSERT INTO {table} (");
    for (at, column) in target.columns.iter().enumerate() {
        // Writing to a String can't fail.
        write!(text, "{}{}", if at > 0 { "," } else { "" }, quote(&column.name)).ok();
    }
    text.push_str(") SELECT ");
    push_repeated(&mut text, "NULL", target.columns.len());
    text.push_str(from);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn not_many_statement_sizes_cover_every_batch_and_a_few_rows_need_one() {
        for most in [1, 3, 100, 1_000] {
            let mut sizes = std::collections::BTreeSet::new();
            for batch in 1..=2000 {
                let mut remaining = batch;
                while remaining > 0 {
                    let rows = statement_rows(remaining, most);
                    assert!(rows > 0 && rows <= remaining && rows <= most);
                    sizes.insert(rows);
                    remaining -= rows;
                }
            }
            assert!(3 * sizes.len() <= STATEMENTS, "{sizes:?}");
        }
        assert_eq!(statement_rows(FEW, 1_000), FEW);
        assert_eq!(statement_rows(0, 5), 0);
        assert_eq!(statement_rows(5, 0), 1);
    }

    #[cfg(feature = "mysql")]
    #[test]
    fn bytes_bound_a_statement() {
        assert_eq!(rows_within(&[10; 100], 1_000, 1_000), 96);
        assert_eq!(rows_within(&[10; 100], 1_000, 40), 3);
        assert_eq!(rows_within(&[10; 100], 2, 40), 2);
        assert_eq!(rows_within(&[500, 1], 1_000, 40), 1);
        assert_eq!(rows_within(&[], 1_000, 40), 0);
    }

    #[test]
    fn a_row_is_repeated() {
        let insert = Insert::raw("INSERT INTO t (a) VALUES ".into(), "(?)".into());
        assert_eq!(insert.text(3), "INSERT INTO t (a) VALUES (?),(?),(?)");
    }
}
