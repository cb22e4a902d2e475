//! Orders for every replica: in the table beside the ledger, on each database; and workers that obey.

mod table;
mod workers;
