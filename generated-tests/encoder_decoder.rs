//! The suites of the encoder-decoder architectures, generated from `registry/encoder-decoder/`.

include!(concat!(env!("OUT_DIR"), "/suites/encoder_decoder.rs"));
