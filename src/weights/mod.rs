//! Loading parameters by name: what the modules ask for, what the checkpoint has, and a report of both.

mod dtype;
mod init;
mod loader;
mod names;
mod pickle;
mod publish;
mod report;
pub mod safetensors;
mod save;
mod seeded;
mod shards;
mod source;
mod state;
mod transfer;

pub use dtype::Dtype;
pub(crate) use dtype::kind_in_config;
pub use init::{Init, Inits};
pub use loader::{LoadOptions, Weights};
pub use names::{Layout, NameTable};
pub use pickle::TorchFile;
pub(crate) use publish::config_file;
pub use report::{LoadReport, WeightsReport};
pub use save::SaveOptions;
pub(crate) use save::save;
pub(crate) use seeded::splitmix64;
pub use seeded::{SeededTensors, draw};
pub use shards::Shards;
pub use source::TensorSource;
pub use state::State;

use tch::Kind;
pub use tch_transformers_native::Prepack;

/// The kind that Python calls `name` (`float32`, `bfloat16`, `int64`, …).
pub fn kind_of(name: &str) -> Option<Kind> {
    Some(match name {
        "float32" => Kind::Float,
        "float64" => Kind::Double,
        "float16" => Kind::Half,
        "bfloat16" => Kind::BFloat16,
        "int64" => Kind::Int64,
        "int32" => Kind::Int,
        "int16" => Kind::Int16,
        "int8" => Kind::Int8,
        "uint8" => Kind::Uint8,
        "bool" => Kind::Bool,
        _ => return None,
    })
}

/// Whether `kind` is a floating-point kind.
pub fn is_float(kind: Kind) -> bool {
    matches!(kind, Kind::Float | Kind::Double | Kind::Half | Kind::BFloat16)
}
