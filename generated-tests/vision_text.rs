//! The suites of the vision-text architectures, generated from `registry/vision-text/`.

include!(concat!(env!("OUT_DIR"), "/suites/vision_text.rs"));
