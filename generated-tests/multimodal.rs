//! The suites of the multimodal architectures, generated from `registry/multimodal/`.

include!(concat!(env!("OUT_DIR"), "/suites/multimodal.rs"));
