//! Decoders whose feed-forward is a mixture of experts, on all layers or on some.
//!
//! All start from the dense decoder that they derive from and give layers a [`MoeSpec`](crate::nn::MoeSpec). What varies
//! stands in there: how the router scores, chooses and weighs ([`RouterSpec`](crate::nn::moe::RouterSpec)), how checkpoints
//! store experts ([`Storage`](crate::nn::moe::Storage)), what an expert is, and what all tokens share. Which layers are
//! sparse is said where the spec is made.

mod deepseek_v3;
mod gpt_oss;
mod mixtral;
mod qwen3_moe;

pub use deepseek_v3::{DeepseekV3, DeepseekV3Config};
pub use gpt_oss::{GptOss, GptOssConfig};
pub use mixtral::{Mixtral, MixtralConfig};
pub use qwen3_moe::{Qwen3Moe, Qwen3MoeConfig};

use crate::config::positive;
use crate::weights::NameTable;
use crate::{Error, Result};

/// Checks that a token can have as many experts as `chosen` says out of those that there are; `(field, number)` each.
pub fn check_choice(model_type: &str, experts: (&str, i64), chosen: (&str, i64)) -> Result<()> {
    positive(model_type, &[experts, chosen])?;
    if chosen.1 > experts.1 {
        let message = format!("is {}, more than there are (`{}` is {})", chosen.1, experts.0, experts.1);
        return Err(Error::config(model_type, chosen.0, message));
    }
    Ok(())
}

/// `table` with the names of experts and routers that most architectures share.
pub fn expert_names(table: NameTable) -> NameTable {
    table.names(&[
        ("layers.*.mlp.router", "layers.*.mlp.gate"),
        ("layers.*.mlp.experts.gate_up", "layers.*.mlp.experts.gate_up_proj"),
        ("layers.*.mlp.experts.down", "layers.*.mlp.experts.down_proj"),
        ("layers.*.mlp.experts.*.gate", "layers.*.mlp.experts.*.gate_proj"),
        ("layers.*.mlp.experts.*.up", "layers.*.mlp.experts.*.up_proj"),
        ("layers.*.mlp.experts.*.down", "layers.*.mlp.experts.*.down_proj"),
        ("layers.*.mlp.shared", "layers.*.mlp.shared_experts"),
        ("layers.*.mlp.shared.gate", "layers.*.mlp.shared_experts.gate_proj"),
        ("layers.*.mlp.shared.up", "layers.*.mlp.shared_experts.up_proj"),
        ("layers.*.mlp.shared.down", "layers.*.mlp.shared_experts.down_proj"),
    ])
}
