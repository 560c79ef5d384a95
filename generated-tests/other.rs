//! The suites of the other architectures, generated from `registry/other/`.

include!(concat!(env!("OUT_DIR"), "/suites/other.rs"));
