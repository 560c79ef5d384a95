//! Decoders whose layers mix tokens in other ways than by attention, in all of them or in turn with it.
//!
//! All are decoders of the [blueprint](crate::models::decoder): what mixes the tokens of a layer is a variant of
//! [`MixerSpec`](crate::nn::MixerSpec), and each file states which layer has which. A selective scan alone
//! ([`mamba`]), short convolutions ([`lfm2`]).

mod lfm2;
mod mamba;

pub use lfm2::{Lfm2, Lfm2Config};
pub use mamba::{Mamba, MambaConfig};
