//! Architectures, one folder per family.

pub mod bert;
pub mod resnet;
pub mod vit;
