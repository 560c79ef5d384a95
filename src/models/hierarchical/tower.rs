use crate::inputs::{Argument, Dim, Values};
use crate::nn::heads::{Body, Features};
use crate::nn::{Context, Conv, ConvSpec, LayerSpec, Mask, Norm, NormSpec, Stack, StackSpec};
use crate::weights::Weights;
use crate::{Cache, Inputs, Outputs, Result};

/// One stage: patches of the map before it, layers over them, and a norm.
#[derive(Debug, Clone, PartialEq)]
pub struct StageSpec {
    /// Makes a token of each patch; patches may overlap.
    pub patches: ConvSpec<2>,
    /// Normalises patches, and what the layers make of them.
    pub norm: NormSpec,
    /// The layers.
    pub layers: Vec<LayerSpec>,
    /// Whether the stage returns a map `[batch, width, rows, columns]`, or tokens `[batch, rows * columns, width]`.
    pub map: bool,
}

#[derive(Debug)]
struct Stage {
    patches: Conv<2>,
    patch_norm: Norm,
    layers: Stack,
    map: bool,
}

/// Stages with their parameters.
#[derive(Debug)]
pub struct HierarchicalTower {
    channels: i64,
    stages: Vec<Stage>,
    /// Whether the outputs of stages are recorded for a head, whatever the caller wants.
    every_stage: bool,
}

impl HierarchicalTower {
    /// Loads `stages.N.patch`, `stages.N.patch_norm`, `stages.N.layers.N` and `stages.N.norm`.
    ///
    /// With `every_stage`, the outputs of all stages are recorded for a head.
    pub fn load(weights: &Weights, stages: &[StageSpec], every_stage: bool) -> Self {
        let stage = |(index, spec): (usize, &StageSpec)| {
            let place = weights.at("stages").layer(index);
            Stage {
                patches: Conv::load(&place.at("patch"), spec.patches),
                patch_norm: Norm::load(&place.at("patch_norm"), spec.norm, spec.patches.outputs),
                layers: Stack::load(&place, &StackSpec { layers: spec.layers.clone(), final_norm: Some(spec.norm) }),
                map: spec.map,
            }
        };
        let channels = stages.first().map_or(0, |stage| stage.patches.inputs);
        Self { channels, stages: stages.iter().enumerate().map(stage).collect(), every_stage }
    }
}

impl Body for HierarchicalTower {
    fn arguments(&self) -> Vec<Argument> {
        let image = [Dim::Named("batch"), Dim::Exactly(self.channels), Dim::Named("height"), Dim::Named("width")];
        vec![Argument::required("pixel_values", Values::Float, &image)]
    }

    fn run(&self, inputs: &Inputs, _: Option<&mut Cache>) -> Result<Features> {
        let mut x = inputs.need("pixel_values")?.shallow_clone();
        let (mut states, mut attentions) = (vec![], vec![]);
        for stage in &self.stages {
            let map = stage.patches.forward(&x);
            let tokens = stage.patch_norm.forward(&map.flatten(2, -1).transpose(1, 2));
            let mut context = Context::new(Mask::None, inputs).on_grid([map.size()[2], map.size()[3]]);
            context.hidden_states = false;
            let passed = stage.layers.forward(tokens, &context, None);
            attentions.extend(passed.attentions);
            x = if stage.map { context.map(&passed.last).contiguous() } else { passed.last };
            states.push(x.shallow_clone());
        }
        let mut rest = Outputs::new();
        if self.every_stage || inputs.is_set("output_hidden_states") {
            rest.insert_list("hidden_states", states);
        }
        rest.insert_list("attentions", attentions);
        Ok(Features { hidden: x, pooled: None, rest })
    }
}
