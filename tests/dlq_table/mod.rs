//! Dead letters in a table, on all databases: the worker that writes them, and every `dlq` command.

mod breaks;
mod commands;
mod many;
mod scene;
mod writes;
