//! Proof that an architecture gives Python's numbers: reference cases, and the checks that run on them.
//!
//! The generated tests and the command line both go through [`run`](fn@run), so they cannot disagree.

mod case;
mod checks;
mod compare;
mod memory;
mod run;
mod runner;

pub use case::{About, Case, discover};
pub use checks::Check;
pub use compare::{
    Comparison, Difference, FLOOR, NOISE_MULTIPLE, Tolerance, WITHOUT_NOISE, compare, difference, scale,
};
pub use memory::Peak;
pub use run::{Job, Row, Run, all_devices, device_name, is_there, jobs_below, jobs_of_entry, kind_name};
pub use runner::{
    Outcome, Setting, Status, Subject, assert_check, cases_directory, cases_of, run, run_on_architecture,
};
