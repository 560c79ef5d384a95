//! Architectures, one folder per family.

pub mod bart;
pub mod bert;
pub mod blip;
mod classes;
pub mod clip;
pub mod codec;
pub mod composed;
pub mod convnet;
pub mod deberta;
pub mod decoder;
pub mod detr;
pub mod gpt;
pub mod hierarchical;
pub mod hybrid;
pub mod layoutlm;
pub mod llama;
pub mod llava;
pub mod modern;
pub mod moe;
pub mod seq2seq;
pub mod speecht5;
pub mod swin;
pub mod t5;
pub mod upernet;
pub mod vit;
pub mod wav2vec2;
pub mod whisper;
