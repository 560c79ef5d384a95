use tch::{Kind, Tensor};

use crate::nn::{Activation, Conv, ConvSpec, GroupNorm, Linear, lowest};
use crate::weights::{NameTable, Weights};

/// A 3x3 convolution, group normalisation, activation.
#[derive(Debug)]
struct Block {
    conv: Conv<2>,
    norm: GroupNorm,
    activation: Activation,
}

impl Block {
    /// Loads `conv` and `norm`.
    fn load(weights: &Weights, inputs: i64, outputs: i64, activation: Activation) -> Self {
        let conv = ConvSpec { padding: [1; 2], ..ConvSpec::new(inputs, outputs, [3; 2]) };
        Self {
            conv: Conv::load(&weights.at("conv"), conv),
            norm: GroupNorm::load(&weights.at("norm"), outputs.min(8), outputs, 1e-5),
            activation,
        }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        self.activation.apply(&self.norm.forward(&self.conv.forward(x)))
    }
}

/// Where each query looks, and from there its mask, refined map by map up to the finest of the backbone.
#[derive(Debug)]
pub struct MaskHead {
    heads: i64,
    q: Linear,
    k: Linear,
    entrance: [Block; 2],
    /// What brings a map of the backbone to the channels so far, and what follows the sum.
    stages: Vec<(Conv<2>, Block)>,
    exit: Conv<2>,
}

impl MaskHead {
    /// Loads `bbox_attention` and `mask_head`; `maps` are the channels of the three maps to refine with, coarse to fine.
    pub fn load(weights: &Weights, hidden: i64, heads: i64, maps: [i64; 3], activation: Activation) -> Self {
        let look = weights.at("bbox_attention");
        let place = |old: &str, new: &str| if look.at(new).is_empty() { look.at(old) } else { look.at(new) };
        let head = weights.at("mask_head").named(names(weights.at("mask_head.conv1").is_empty()));
        let mut channels = hidden / 2;
        let stages = maps.iter().enumerate().map(|(index, map)| {
            let stage = head.at("stages").layer(index);
            let (inputs, outputs) = (channels, channels / 2);
            channels = outputs;
            let adapter = Conv::load(&stage.at("adapter"), ConvSpec::new(*map, inputs, [1; 2]));
            (adapter, Block::load(&stage, inputs, outputs, activation))
        });
        let inputs = hidden + heads;
        Self {
            heads,
            q: Linear::load(&place("q_linear", "q_proj"), hidden, hidden, true),
            k: Linear::load(&place("k_linear", "k_proj"), hidden, hidden, true),
            stages: stages.collect(),
            entrance: [
                Block::load(&head.at("first"), inputs, inputs, activation),
                Block::load(&head.at("second"), inputs, hidden / 2, activation),
            ],
            exit: Conv::load(&head.at("exit"), ConvSpec { padding: [1; 2], ..ConvSpec::new(hidden / 16, 1, [3; 2]) }),
        }
    }

    /// How much each head of each query (`[batch, queries, hidden]`) looks at each place of `memory`
    /// (`[batch, places, hidden]`), places that are not `real` excepted: `[batch, queries, heads, places]`.
    fn look(&self, queries: &Tensor, memory: &Tensor, real: &Tensor) -> Tensor {
        let split = |x: &Tensor| {
            let size = x.size();
            x.view([size[0], size[1], self.heads, -1]).transpose(1, 2)
        };
        let (q, k) = (split(&self.q.forward(queries)), split(&self.k.forward(memory)));
        let scale = (q.size()[3] as f64).powf(-0.5);
        let scores = (q * scale).matmul(&k.transpose(2, 3)).transpose(1, 2);
        let hidden = real.logical_not().unsqueeze(1).unsqueeze(1);
        let scores = scores.masked_fill(&hidden, lowest(scores.kind()));
        let size = scores.size();
        // All heads of a query share one softmax.
        scores.flatten(2, 3).softmax(-1, None::<Kind>).view(&size[..])
    }

    /// The mask of each query, `[batch, queries, height, width]` of the finest of `maps` (fine to coarse, three at least).
    ///
    /// `projected` is the coarsest map as the transformer got it, `[batch, hidden, height, width]`.
    pub fn forward(
        &self,
        queries: &Tensor,
        memory: &Tensor,
        real: &Tensor,
        projected: &Tensor,
        maps: &[Tensor],
    ) -> Tensor {
        let size = projected.size();
        let count = queries.size()[1];
        let looks = self.look(queries, memory, real).view([-1, self.heads, size[2], size[3]]);
        let repeated = |map: &Tensor| {
            let size = map.size();
            map.unsqueeze(1).expand([-1, count, -1, -1, -1], false).reshape([-1, size[1], size[2], size[3]])
        };
        let x = Tensor::cat(&[repeated(projected), looks], 1);
        let mut x = self.entrance.iter().fold(x, |x, block| block.forward(&x));
        for ((adapter, block), map) in std::iter::zip(&self.stages, maps.iter().take(self.stages.len()).rev()) {
            let map = repeated(&adapter.forward(map));
            let size = map.size();
            x = block.forward(&(map + x.upsample_nearest2d([size[2], size[3]], None, None)));
        }
        let masks = self.exit.forward(&x);
        let size = masks.size();
        masks.view([-1, count, size[2], size[3]])
    }
}

/// Names of files on the hub, or as the modules of `transformers` 5 are called.
fn names(hub: bool) -> NameTable {
    match hub {
        true => NameTable::new().names(&[
            ("first.conv", "lay1"),
            ("first.norm", "gn1"),
            ("second.conv", "lay2"),
            ("second.norm", "gn2"),
            ("stages.0.adapter", "adapter1"),
            ("stages.0.conv", "lay3"),
            ("stages.0.norm", "gn3"),
            ("stages.1.adapter", "adapter2"),
            ("stages.1.conv", "lay4"),
            ("stages.1.norm", "gn4"),
            ("stages.2.adapter", "adapter3"),
            ("stages.2.conv", "lay5"),
            ("stages.2.norm", "gn5"),
            ("exit", "out_lay"),
        ]),
        false => NameTable::new().names(&[
            ("first", "conv1"),
            ("second", "conv2"),
            ("stages.*.adapter", "fpn_stages.*.fpn_adapter"),
            ("stages.*.conv", "fpn_stages.*.refine.conv"),
            ("stages.*.norm", "fpn_stages.*.refine.norm"),
            ("exit", "output_conv"),
        ]),
    }
}
