//! Hugging Face architectures, native in Rust on libtorch, each proven number for number against Python.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod auto;
mod cache;
pub mod config;
mod error;
mod files;
pub mod generation;
pub mod hub;
pub mod inputs;
mod json;
pub mod model;
pub mod models;
pub mod nn;
mod outputs;
pub mod pipeline;
#[doc(hidden)]
pub mod proofs;
pub mod report;
pub mod tasks;
pub mod text;
pub mod verify;
pub mod weights;

pub use cache::{Cache, CacheFormula, CacheKind, CacheSize, KeyValues, LayerCache, LayerFormula};
pub use error::{Error, Result};
pub use generation::{GenerationConfig, GenerationOptions};
pub use inputs::Inputs;
pub use model::Model;
pub use outputs::Outputs;
pub use tch_transformers_macros::hf_model;

/// The examples of README.md compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
