//! Architectures, one folder per family.

pub mod bert;
pub mod clip;
pub mod resnet;
pub mod vit;
