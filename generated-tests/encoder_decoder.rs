//! The suites of the encoder-decoder architectures, generated from `registry/encoder-decoder/`.

use tch_transformers::hf_model;

include!(concat!(env!("OUT_DIR"), "/suites/encoder_decoder.rs"));
