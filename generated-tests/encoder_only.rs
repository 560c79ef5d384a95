//! The suites of the encoder-only architectures, generated from `registry/encoder-only/`.

include!(concat!(env!("OUT_DIR"), "/suites/encoder_only.rs"));
