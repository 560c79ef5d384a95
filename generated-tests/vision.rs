//! The suites of the vision architectures, generated from `registry/vision/`.

use tch_transformers::hf_model;

include!(concat!(env!("OUT_DIR"), "/suites/vision.rs"));
