//! The suites of the decoder-only architectures, generated from `registry/decoder-only/`.

include!(concat!(env!("OUT_DIR"), "/suites/decoder_only.rs"));
