//! Decoders whose layers mix tokens in other ways than by attention, in all of them or in turn with it.
//!
//! All are decoders of the [blueprint](crate::models::decoder): what mixes the tokens of a layer is a variant of
//! [`MixerSpec`](crate::nn::MixerSpec), and each file states which layer has which. Selective scans alone ([`Mamba`]) and
//! with attention and experts ([`Jamba`]), short convolutions ([`Lfm2`]), the gated delta rule ([`Qwen3Next`]).

mod jamba;
mod lfm2;
mod mamba;
mod qwen3_next;

pub use jamba::{Jamba, JambaConfig};
pub use lfm2::{Lfm2, Lfm2Config};
pub use mamba::{Mamba, MambaConfig};
pub use qwen3_next::{Qwen3Next, Qwen3NextConfig};

/// Width from which the time steps of a scan are made where it is `auto`.
fn time_step_rank(hidden: i64) -> i64 {
    hidden.div_euclid(16) + i64::from(hidden.rem_euclid(16) > 0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::ModelConfig;

    #[test]
    fn sizes_follow_from_the_width_where_nothing_is_said() {
        let mamba = MambaConfig::from_json(&json!({"hidden_size": 40, "expand": 3, "time_step_rank": "auto"})).unwrap();
        assert_eq!((mamba.intermediate_size, mamba.time_step_rank), (120, 3));
        let mamba = MambaConfig::from_json(&json!({"hidden_size": 40, "intermediate_size": 50})).unwrap();
        assert_eq!((mamba.intermediate_size, mamba.time_step_rank), (50, 3));
        let jamba = JambaConfig::from_json(&json!({"hidden_size": 64, "mamba_dt_rank": "auto"})).unwrap();
        assert_eq!(jamba.mamba_dt_rank, 4);
    }
}
