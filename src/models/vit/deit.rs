use super::base::vit_heads;
use super::{Reconstruction, VisionSpec, VitConfig, spec, tower};
use crate::model::{Architecture, Head, Module};
use crate::nn::heads::{Bare, Classifier, Features, Headed, Readout};
use crate::nn::{Linear, Pooling};
use crate::tasks;
use crate::weights::Weights;
use crate::{Inputs, Outputs, Result};

crate::config! {
    /// Configuration of [`Deit`].
    pub struct DeitConfig("deit"): VitConfig {}
}

/// DeiT (Touvron et al., 2020), ViT with a second special token that learned from a teacher; `transformers.models.deit`.
#[derive(Debug)]
pub struct Deit;

impl Architecture for Deit {
    type Config = DeitConfig;
}

/// DeiT's encoder.
fn deit(config: &VitConfig) -> VisionSpec {
    spec(config).with_patches(|patches| patches.tokens = &["class", "distillation"])
}

vit_heads!(Deit(DeitConfig) = deit, "deit");

/// The mean of what the class token and the distillation token say, and both by themselves.
#[derive(Debug)]
struct Taught {
    class: Linear,
    distillation: Linear,
}

impl Readout for Taught {
    fn read(&self, features: &Features, _: &Inputs) -> Result<Outputs> {
        let class = self.class.forward(&features.hidden.select(1, 0));
        let distillation = self.distillation.forward(&features.hidden.select(1, 1));
        Ok(Outputs::new()
            .with("logits", (&class + &distillation) / 2.0)
            .with("cls_logits", class)
            .with("distillation_logits", distillation))
    }
}

impl Head<tasks::ImageClassificationWithTeacher> for Deit {
    fn load(config: &DeitConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let scores = |name: &str| Linear::load(&weights.at(name), config.hidden_size, config.num_labels, true);
        let head = Taught { class: scores("cls_classifier"), distillation: scores("distillation_classifier") };
        Ok(Box::new(Headed::new(tower(weights, "deit", &deit(config)), head)))
    }
}
