//! What isn't the same on all versions of the servers. `./tests/matrix.sh` runs these against each of them.

mod mysql;
mod rabbitmq;
