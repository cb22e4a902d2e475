//! Groups a batch's rows by which columns they leave to the database's DEFAULT, since a column
//! that is left out must be left out of the statement.

use crate::message::{Cell, Row, Unit};

/// Rows of one target that fill the same columns.
#[derive(Debug)]
pub(crate) struct Group<'a> {
    /// The place of the target in the plan.
    pub target: usize,
    /// The places of the columns that these rows fill, ascending; may be empty.
    pub columns: Vec<usize>,
    /// Each row with the body that its slices point into, in the batch's order.
    pub rows: Vec<(&'a Row, &'a [u8])>,
    /// For each row the place of its unit among those that were grouped.
    pub units: Vec<usize>,
}

/// Groups all changes of the units, in the order in which shapes first appear.
pub(crate) fn group<'a>(units: impl Iterator<Item = &'a Unit>) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    for (place, unit) in units.enumerate() {
        let body: &[u8] = &unit.delivery.envelope.body;
        for change in &unit.changes {
            let fits = |group: &Group<'a>| {
                group.target == change.target && group.columns.iter().copied().eq(filled(&change.row))
            };
            // Most batches have one shape, and neighbours share theirs: look at the last first.
            match groups.iter().rposition(fits) {
                Some(at) => {
                    groups[at].rows.push((&change.row, body));
                    groups[at].units.push(place);
                }
                None => groups.push(Group {
                    target: change.target,
                    columns: filled(&change.row).collect(),
                    rows: vec![(&change.row, body)],
                    units: vec![place],
                }),
            }
        }
    }
    groups
}

fn filled(row: &Row) -> impl Iterator<Item = usize> {
    row.0.iter().enumerate().filter(|(_, cell)| !matches!(cell, Cell::Absent)).map(|(at, _)| at)
}
