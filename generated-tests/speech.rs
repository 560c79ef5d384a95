//! The suites of the speech architectures, generated from `registry/speech/`.

use tch_transformers::hf_model;

include!(concat!(env!("OUT_DIR"), "/suites/speech.rs"));
