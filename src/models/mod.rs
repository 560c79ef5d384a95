//! Architectures, one folder per family.

pub mod bert;
pub mod resnet;
pub mod seq2seq;
pub mod t5;
pub mod vit;
