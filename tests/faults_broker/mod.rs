//! What brokers and their operators do to a running worker. Whatever it is: the worker goes on by
//! itself, nothing is lost, nothing is written twice.

mod alarms;
mod gone;
mod letters;
mod queues;
