//! The suites of the speech architectures, generated from `registry/speech/`.

include!(concat!(env!("OUT_DIR"), "/suites/speech.rs"));
