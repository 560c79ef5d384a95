//! The suites of the multimodal architectures, generated from `registry/multimodal/`.

use tch_transformers::hf_model;

include!(concat!(env!("OUT_DIR"), "/suites/multimodal.rs"));
