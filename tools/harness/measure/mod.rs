//! Measuring: a load is run against an engine, what was seen is summed up, and a search
//! asks for runs until it knows how many calls a core carries.

pub mod capacity;
pub mod drive;
pub mod kill;
pub mod load;
pub mod outcome;
pub mod percentiles;
pub mod progress;
pub mod run;
pub mod search;
pub mod set_up;
