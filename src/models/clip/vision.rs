use super::VisionConfig;
use crate::models::vit::{VisionSpec, VisionTower};
use crate::nn::{NormSpec, PatchSpec, PoolingSpec};
use crate::weights::{NameTable, Weights};

/// CLIP's image encoder: ViT with a normalisation before the first layer, and only the class token normalised after the
/// last.
pub fn vision_spec(config: &VisionConfig) -> VisionSpec {
    let norm = NormSpec::layer(config.layer_norm_eps);
    let (image, patch) = ([config.image_size; 2], [config.patch_size; 2]);
    let patches = PatchSpec {
        bias: false,
        batched: false,
        ..PatchSpec::new(config.num_channels, config.hidden_size, image, patch, &["class"])
    };
    let spec = VisionSpec::new(patches, super::stack(config)).pooled(PoolingSpec::Norm(norm));
    VisionSpec { embedding_norm: Some(norm), ..spec }
}

/// Names of the image encoder.
pub fn vision_names() -> NameTable {
    super::layer_names().names(&[
        ("class", "embeddings.class_embedding"),
        ("patch", "embeddings.patch_embedding"),
        ("positions", "embeddings.position_embedding.weight"),
        // Misspelt in every checkpoint.
        ("embedding_norm", "pre_layrnorm"),
        ("pooler", "post_layernorm"),
    ])
}

/// The image encoder below `vision_model`, or at the root of files that hold nothing else.
pub fn vision(weights: &Weights, spec: &VisionSpec, names: NameTable) -> VisionTower {
    let weights = weights.either(&["vision_model", ""]).named(names);
    weights.ignore("embeddings.position_ids");
    VisionTower::load(&weights, spec)
}
