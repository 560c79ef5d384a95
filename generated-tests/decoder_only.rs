//! The suites of the decoder-only architectures, generated from `registry/decoder-only/`.

use tch_transformers::hf_model;

include!(concat!(env!("OUT_DIR"), "/suites/decoder_only.rs"));
