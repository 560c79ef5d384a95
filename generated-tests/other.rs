//! The suites of the other architectures, generated from `registry/other/`.

use tch_transformers::hf_model;

include!(concat!(env!("OUT_DIR"), "/suites/other.rs"));
