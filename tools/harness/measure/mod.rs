//! Measuring: a load is run against an engine, what was seen is summed up as a report, and a search
//! asks for runs until it knows how many calls a core carries.

pub mod capacity;
pub mod progress;
pub mod report;
pub mod run;
pub mod search;
