//! The suites of the vision-text architectures, generated from `registry/vision-text/`.

use tch_transformers::hf_model;

include!(concat!(env!("OUT_DIR"), "/suites/vision_text.rs"));
