//! The suites of the vision architectures, generated from `registry/vision/`.

include!(concat!(env!("OUT_DIR"), "/suites/vision.rs"));
