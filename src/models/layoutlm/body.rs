use tch::{Kind, Tensor};

use crate::inputs::{Argument, Dim, Values};
use crate::models::bert::{Embeddings, EmbeddingsSpec};
use crate::nn::heads::{Body, Features};
use crate::nn::{
    Context, Mask, Norm, NormSpec, PatchEmbedding, PatchSpec, RelativeBias, RelativeBiasSpec, Stack, StackSpec,
};
use crate::weights::Weights;
use crate::{Cache, Error, Inputs, Result};

/// Height and width of a page in the units of boxes.
const PAGE: i64 = 1000;

/// An encoder of a document.
#[derive(Debug, Clone)]
pub struct LayoutSpec {
    /// The text and where it stands.
    pub text: Option<EmbeddingsSpec>,
    /// The image of the page.
    pub visual: Option<VisualSpec>,
    /// How attention is biased.
    pub places: PlacesSpec,
    /// The layers.
    pub stack: StackSpec,
}

/// The image of a page as tokens after those of the text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VisualSpec {
    /// Its patches.
    pub patches: PatchSpec,
    /// The normalisation of the patches.
    pub norm: NormSpec,
    /// That of text and patches together.
    pub joined_norm: NormSpec,
}

/// Biases of attention by the places of tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PlacesSpec {
    /// By their distance in the text.
    pub text: Option<RelativeBiasSpec>,
    /// By their distances on the page, across and down.
    pub page: Option<RelativeBiasSpec>,
    /// What the biases are multiplied by.
    pub scale: f64,
}

/// A [`PlacesSpec`] with its parameters.
#[derive(Debug)]
pub struct Places {
    text: Option<RelativeBias>,
    page: Option<[RelativeBias; 2]>,
    scale: f64,
}

impl Places {
    /// Loads `text`, and `across` and `down`, as far as `spec` has them.
    pub fn load(weights: &Weights, spec: PlacesSpec) -> Self {
        let page = |page| ["across", "down"].map(|name| RelativeBias::load(&weights.at(name), page));
        Self {
            text: spec.text.map(|text| RelativeBias::load(&weights.at("text"), text)),
            page: spec.page.map(page),
            scale: spec.scale,
        }
    }

    /// The biases `[batch or 1, heads, tokens, tokens]` of tokens at `positions` (`[tokens]`) in `boxes` (`[batch, tokens,
    /// 4]`); those of the page count only together with those of the text. They are not trained.
    pub fn forward(&self, positions: &Tensor, boxes: &Tensor) -> Option<Tensor> {
        let apart = |places: &Tensor| places.unsqueeze(-2) - places.unsqueeze(-1);
        let text = self.text.as_ref()?.between(&apart(&positions.unsqueeze(0)));
        let bias = match &self.page {
            Some([across, down]) => {
                // The left and the lower edge.
                let [left, lower] = [0, 3].map(|edge| boxes.select(2, edge));
                text + across.between(&apart(&left)) + down.between(&apart(&lower))
            }
            None => text,
        };
        Some(bias.detach() * self.scale)
    }
}

/// A [`VisualSpec`] with its parameters.
#[derive(Debug)]
struct Visual {
    patches: PatchEmbedding,
    norm: Norm,
    joined_norm: Norm,
    /// Left, upper, right and lower edge of the tokens, `[tokens, 4]`.
    boxes: Vec<i64>,
    /// Channels, height and width of the image.
    image: [i64; 3],
}

impl Visual {
    /// Loads the patch embedding, `visual_norm` and `joined_norm`.
    fn load(weights: &Weights, spec: VisualSpec) -> Self {
        let PatchSpec { hidden, channels, image: [height, width], .. } = spec.patches;
        let [rows, columns] = spec.patches.grid(spec.patches.image);
        let edge = |at: i64, count: i64| PAGE * at / count;
        // The class token stands for the whole page.
        let mut boxes = vec![1, 1, PAGE - 1, PAGE - 1];
        for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
            let upper_left = [edge(column, columns), edge(row, rows)];
            boxes.extend(upper_left.into_iter().chain([edge(column + 1, columns), edge(row + 1, rows)]));
        }
        Self {
            patches: PatchEmbedding::load(weights, spec.patches),
            norm: Norm::load(&weights.at("visual_norm"), spec.norm, hidden),
            joined_norm: Norm::load(&weights.at("joined_norm"), spec.joined_norm, hidden),
            boxes,
            image: [channels, height, width],
        }
    }

    /// `[batch, channels, height, width]` to `[batch, tokens, hidden]`.
    fn forward(&self, image: &Tensor) -> Result<Tensor> {
        Ok(self.norm.forward(&self.patches.forward(image, None, false)?))
    }

    /// The boxes of the tokens of `batch` images, `[batch, tokens, 4]`.
    fn boxes(&self, batch: i64, device: tch::Device) -> Tensor {
        Tensor::from_slice(&self.boxes).view([1, -1, 4]).expand([batch, -1, -1], false).to_device(device)
    }
}

/// A [`LayoutSpec`] with its parameters.
#[derive(Debug)]
pub struct LayoutBody {
    text: Option<Embeddings>,
    visual: Option<Visual>,
    places: Places,
    stack: Stack,
}

impl LayoutBody {
    /// Loads the blocks of [`Embeddings`], of the image, `places`, and `layers.N`.
    pub fn load(weights: &Weights, spec: &LayoutSpec) -> Self {
        Self {
            text: spec.text.clone().map(|text| Embeddings::load(weights, text)),
            visual: spec.visual.map(|visual| Visual::load(weights, visual)),
            places: Places::load(&weights.at("places"), spec.places),
            stack: Stack::load(weights, &spec.stack),
        }
    }
}

/// Tokens of the text in `inputs`, 0 where there is none.
pub fn text_tokens(inputs: &Inputs) -> i64 {
    inputs.get("input_ids").or(inputs.get("inputs_embeds")).map_or(0, |text| text.size()[1])
}

impl Body for LayoutBody {
    fn arguments(&self) -> Vec<Argument> {
        use Dim::{Exactly, Named};
        let mut arguments = self.text.as_ref().map_or_else(Vec::new, Embeddings::arguments);
        if let Some(Visual { image, .. }) = &self.visual {
            let [channels, height, width] = image.map(Exactly);
            let shape = [Named("batch"), channels, height, width];
            arguments.push(Argument::optional("pixel_values", Values::Float, &shape));
        }
        arguments
    }

    fn run(&self, inputs: &Inputs, _: Option<&mut Cache>) -> Result<Features> {
        let text = self.text(inputs)?;
        let image = self.image(inputs)?;
        let real = real(inputs, text.as_ref(), image.as_ref());
        let seen = image.is_some();
        let parts: Vec<Part> = text.into_iter().chain(image).collect();
        if parts.is_empty() {
            return Err(Error::input("input_ids", "is missing; give it, `inputs_embeds` or `pixel_values`"));
        }
        let together = |of: fn(&Part) -> &Tensor, dim| Tensor::cat(&parts.iter().map(of).collect::<Vec<_>>(), dim);
        let mut x = together(|part| &part.x, 1);
        if let Some(visual) = self.visual.as_ref().filter(|_| seen) {
            x = visual.joined_norm.forward(&x);
        }
        let mut context = Context::new(Mask::padding(real.as_ref()), inputs);
        let (positions, boxes) = (together(|part| &part.positions, 0), together(|part| &part.boxes, 1));
        if let Some(bias) = self.places.forward(&positions, &boxes) {
            context = context.with_bias(bias);
        }
        let passed = self.stack.forward(x, &context, None).tied();
        Ok(Features { hidden: passed.last.shallow_clone(), pooled: None, rest: passed.recorded("") })
    }
}

/// Tokens of one kind.
#[derive(Debug)]
struct Part {
    /// `[batch, tokens, hidden]`.
    x: Tensor,
    /// `[tokens]`.
    positions: Tensor,
    /// `[batch, tokens, 4]`.
    boxes: Tensor,
}

impl Part {
    /// Tokens whose positions count from 0, in `boxes`; `None` for the corner of the page.
    fn new(x: Tensor, boxes: Option<Tensor>) -> Self {
        let (size, options) = (x.size(), (Kind::Int64, x.device()));
        let boxes = boxes.unwrap_or_else(|| Tensor::zeros([size[0], size[1], 4], options));
        Self { positions: Tensor::arange(size[1], options), boxes, x }
    }
}

/// Which tokens are no padding, `[batch, tokens]`, where a mask of the text is given.
fn real(inputs: &Inputs, text: Option<&Part>, image: Option<&Part>) -> Option<Tensor> {
    let mask = text.and(inputs.get("attention_mask"))?.to_kind(Kind::Bool);
    Some(match image {
        Some(image) => {
            let size = image.x.size();
            Tensor::cat(&[&mask, &Tensor::ones([size[0], size[1]], (Kind::Bool, mask.device()))], 1)
        }
        None => mask,
    })
}

impl LayoutBody {
    fn text(&self, inputs: &Inputs) -> Result<Option<Part>> {
        let Some(text) = self.text.as_ref().filter(|_| text_tokens(inputs) > 0) else { return Ok(None) };
        let boxes = inputs.get("bbox").map(|boxes| boxes.to_kind(Kind::Int64));
        Ok(Some(Part::new(text.forward(inputs, 0)?, boxes)))
    }

    fn image(&self, inputs: &Inputs) -> Result<Option<Part>> {
        let (Some(visual), Some(image)) = (&self.visual, inputs.get("pixel_values")) else { return Ok(None) };
        let x = visual.forward(image)?;
        let boxes = visual.boxes(x.size()[0], x.device());
        Ok(Some(Part::new(x, Some(boxes))))
    }
}
