//! The roster, and loading by what `config.json` says: [`AutoConfig`], [`AutoModel`] and its sisters for each task, and
//! any class by its name.

mod builder;
mod checkpoint;
mod classes;
mod config;
mod init;
mod load;
mod roster;

pub use builder::Pretrained;
pub use checkpoint::Checkpoint;
pub use classes::*;
pub use config::AutoConfig;
pub use load::{from_directory, from_directory_with_report, load, load_with_report, part};
pub use roster::{
    Class, ConfigFns, Entry, Load, Part, Tolerance, config_of, entry, load_head, load_part, nearest, roster,
};
