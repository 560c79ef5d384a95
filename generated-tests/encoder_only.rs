//! The suites of the encoder-only architectures, generated from `registry/encoder-only/`.

use tch_transformers::hf_model;

include!(concat!(env!("OUT_DIR"), "/suites/encoder_only.rs"));
