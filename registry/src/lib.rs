//! The registry of architectures: what an entry may say, what must hold between entries, and what the build makes of
//! them.
//!
//! [`Scan`] reads the folders and collects every mistake with its place; without mistakes it becomes a [`Roster`], from
//! which [`emit`] writes the table of the library and the declarations of the suites.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod category;
mod checks;
pub mod emit;
pub mod entry;
mod ident;
mod mistake;
mod nearest;
pub mod pinned;
mod read;
mod roster;
mod status;
mod tasks;

pub use category::Category;
pub use checks::{Applies, CHECKS, Check, Device};
pub use ident::ident;
pub use mistake::{Level, Located, Mistake, Place};
pub use nearest::{hint, nearest};
pub use read::read;
pub use roster::{ClassOf, Roster, Scan};
pub use status::{Status, status};
pub use tasks::{TASKS, Task};
