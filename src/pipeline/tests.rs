//! The consumer's loop, driven by a broker, a database and a letter box in memory, in paused time:
//! hours of trouble pass in milliseconds, and the same way each time.

mod broker;
mod database;
mod letter_box;
mod rig;

mod drain;
mod emptiness;
mod faults;
mod hold;
mod pace;
mod pause;
mod rejection;
mod schedules;
mod settling;
mod storm;
