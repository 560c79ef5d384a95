use std::collections::BTreeSet;
use std::path::Path;

use tch::{Device, Kind, Tensor};
use tokenizers::Encoding;

use super::{Options, Progress};
use crate::auto::{AutoClass, AutoConfig, Checkpoint};
use crate::error::catch;
use crate::inputs::Dim;
use crate::text::{Strategy, Tokenizer, Truncation};
use crate::weights::{LoadOptions, TensorSource};
use crate::{Error, Inputs, Model, Outputs, Result, auto};

/// A tokenizer and a model that reads what it makes: what every pipeline on texts stands on.
#[derive(Debug)]
pub struct Text {
    tokenizer: Tokenizer,
    model: Model,
    positions: usize,
    unused: Vec<String>,
    batch_size: usize,
    progress: Option<Progress>,
    /// The texts of a batch have equally many of this token.
    counted: Option<u32>,
}

/// Texts of similar length that go through the model in one pass.
#[derive(Debug)]
pub struct Batch {
    /// Where each of them stands among those that were to be cut into batches.
    pub places: Vec<usize>,
    /// Their tokens, without padding.
    pub encodings: Vec<Encoding>,
    /// Their tokens as the model's class takes them, padded to the longest.
    pub inputs: Inputs,
    /// 1 for their tokens and 0 for padding, `[texts, tokens]`, whether the class takes it or not.
    pub mask: Tensor,
}

impl Text {
    /// Loads a checkpoint as the class that `auto` stands for, with its tokenizer.
    ///
    /// # Errors
    /// [`Error::NoClassForTask`] when the architecture has no such class, and as [`Text::with_class`].
    pub fn from_pretrained(auto: AutoClass, checkpoint: impl Into<Checkpoint>, options: &Options) -> Result<Self> {
        let directory = checkpoint.into().directory()?;
        let class = auto.class_of(&AutoConfig::from_pretrained(&directory)?)?;
        Self::with_class(&directory, class.name, options)
    }

    /// Loads the checkpoint in `directory` as `class`, with its tokenizer.
    ///
    /// # Errors
    /// As [`auto::from_directory`] and [`Tokenizer::from_directory`]; [`Error::Input`] for a batch size of 0 and a class
    /// that reads no text.
    pub fn with_class(directory: &Path, class: &str, options: &Options) -> Result<Self> {
        let load = LoadOptions { allow_unused: true, ..options.load };
        Self::with_model(directory, auto::from_directory(directory, class, load)?, options)
    }

    /// The same for who needs the last hidden state alone: the checkpoint may lack the pooler behind it.
    ///
    /// # Errors
    /// As [`Text::with_class`].
    pub fn without_pooler(directory: &Path, class: &str, options: &Options) -> Result<Self> {
        let load = LoadOptions { allow_unused: true, allow_new_heads: true, ..options.load };
        let (model, report) = auto::from_directory_with_report(directory, class, load)?;
        if !options.load.allow_new_heads && report.fresh.iter().any(|name| !name.contains("pooler")) {
            // Says all that is missing.
            return Self::with_class(directory, class, options);
        }
        Self::with_model(directory, model, options)
    }

    fn with_model(directory: &Path, model: Model, options: &Options) -> Result<Self> {
        if options.batch_size == 0 {
            return Err(Error::input("batch_size", "is 0; expected at least 1"));
        }
        let state: BTreeSet<&str> = model.state().names().collect();
        let stored = TensorSource::open(directory)?.names();
        let unused: Vec<_> = stored.into_iter().filter(|name| !state.contains(name.as_str())).collect();
        if !unused.is_empty() {
            tracing::info!(class = model.class(), ?unused, "the checkpoint has tensors that the class does not");
        }
        let positions = positions(&model)?;
        let tokenizer = Tokenizer::from_directory(directory)?.limited_to(positions)?;
        let (batch_size, progress) = (options.batch_size, options.progress.clone());
        Ok(Self { tokenizer, model, positions, unused, batch_size, progress, counted: None })
    }

    /// The same for a class with one result per text. Such classes of encoder-decoders need equally many end tokens in
    /// the texts of a batch, and those of decoders without a padding token take texts one by one.
    pub fn for_whole_texts(self) -> Self {
        let counted = self.tokenizer.special_tokens().eos.as_ref().map(|eos| eos.id);
        let decoder = auto::roster().iter().any(|entry| {
            entry.category == "decoder-only" && entry.classes.iter().any(|class| class.name == self.model.class())
        });
        let padded = self.model.config().get("pad_token_id").is_some_and(|id| !id.is_null());
        let batch_size = if decoder && !padded { 1 } else { self.batch_size };
        Self { counted, batch_size, ..self }
    }

    /// The same with a model that counts the tokens that pass through it.
    #[cfg(test)]
    pub(super) fn watched(self) -> (Self, std::sync::Arc<std::sync::atomic::AtomicI64>) {
        let (model, count) = crate::generation::watched::watch(self.model);
        (Self { model, ..self }, count)
    }

    /// The tokenizer replaced by what `change` makes of it; texts are never cut to more than the model's positions.
    ///
    /// # Errors
    /// That of `change`, and as [`Tokenizer::limited_to`].
    pub fn with_tokenizer(self, change: impl FnOnce(Tokenizer) -> Result<Tokenizer>) -> Result<Self> {
        Ok(Self { tokenizer: change(self.tokenizer)?.limited_to(self.positions)?, ..self })
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Tensors of the checkpoint that the model's class does not have.
    pub fn unused(&self) -> &[String] {
        &self.unused
    }

    /// The most texts of one pass.
    pub fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// The most tokens that the model takes; `usize::MAX` where nothing limits them.
    pub fn positions(&self) -> usize {
        self.positions
    }

    /// How texts are cut: where `truncation` is set to [`Tokenizer::max_length`], otherwise only where the model has no
    /// further positions, which Python's pipelines refuse.
    pub fn truncation(&self, truncation: bool) -> Truncation {
        let max_length = if truncation { self.tokenizer.max_length() } else { self.positions };
        Truncation { strategy: Strategy::LongestFirst, stride: 0, max_length }
    }

    /// Cuts `encodings` into batches of at most `batch_size` of similar length, the longest first.
    ///
    /// Where the tokenizer has no padding token, the texts of a batch are equally long.
    ///
    /// # Errors
    /// An item is an [`Error::Tokenizer`] when a text has no tokens.
    pub fn batches(&self, encodings: Vec<Encoding>, batch_size: usize) -> impl Iterator<Item = Result<Batch>> {
        let pads = self.tokenizer.special_tokens().pad.is_some();
        let counted = self.counted;
        let count = move |encoding: &Encoding| encoding.get_ids().iter().filter(|id| Some(**id) == counted).count();
        let mut sorted: Vec<_> = encodings.into_iter().enumerate().collect();
        sorted.sort_by_key(|(_, encoding)| std::cmp::Reverse((count(encoding), encoding.len())));
        let mut rest = sorted.into_iter().peekable();
        std::iter::from_fn(move || {
            let (longest, counts) = rest.peek().map(|(_, first)| (first.len(), count(first)))?;
            let fits = |next: &Encoding| (pads || next.len() == longest) && count(next) == counts;
            let (mut places, mut encodings) = (Vec::new(), Vec::new());
            while places.len() < batch_size.max(1)
                && let Some((place, encoding)) = rest.next_if(|(_, next)| fits(next))
            {
                places.push(place);
                encodings.push(encoding);
            }
            Some(self.batch(places, encodings))
        })
    }

    /// What `row` makes of each text's outputs `names`, in the order of `encodings`.
    ///
    /// `row` is given the text's tokens, and of each output the text's row without the batch dimension, in float32 on
    /// the CPU; see [`Text::tokens`] for outputs with one vector per token.
    ///
    /// # Errors
    /// As [`Model::forward`], [`Error::Input`] when the class does not return one of `names`, and that of `row`.
    pub fn rows<T>(
        &self,
        encodings: Vec<Encoding>,
        names: &[&str],
        mut row: impl FnMut(&Encoding, &[Tensor]) -> Result<T>,
    ) -> Result<Vec<T>> {
        self.each(encodings, self.batch_size, |batch, outputs| {
            let outputs = names
                .iter()
                .map(|name| self.output(outputs, name).map(|output| output.to_device(Device::Cpu).to_kind(Kind::Float)))
                .collect::<Result<Vec<_>>>()?;
            let of = |(at, encoding)| {
                let rows: Vec<Tensor> = outputs.iter().map(|output| output.get(at as i64)).collect();
                row(encoding, &rows)
            };
            batch.encodings.iter().enumerate().map(of).collect()
        })
    }

    /// What `pass` makes of the outputs of each batch, one result per text, in the order of `encodings`.
    ///
    /// # Errors
    /// As [`Model::forward`], and that of `pass`.
    pub fn each<T>(
        &self,
        encodings: Vec<Encoding>,
        batch_size: usize,
        mut pass: impl FnMut(&Batch, &Outputs) -> Result<Vec<T>>,
    ) -> Result<Vec<T>> {
        let all = encodings.len();
        let mut results: Vec<Option<T>> = (0..all).map(|_| None).collect();
        let mut done = 0;
        for batch in self.batches(encodings, batch_size) {
            let batch = batch?;
            let outputs = self.model.forward(&batch.inputs)?;
            for (place, result) in std::iter::zip(&batch.places, catch(|| pass(&batch, &outputs))?) {
                results[*place] = Some(result);
            }
            done += batch.places.len();
            self.tell(done, all);
        }
        Ok(results.into_iter().flatten().collect())
    }

    /// Says that `done` of `all` texts are done, where somebody wants to know.
    pub fn tell(&self, done: usize, all: usize) {
        if let Some(progress) = &self.progress {
            progress.tell(done, all);
        }
    }

    /// The vectors of a text's own tokens, `[tokens, …]`, out of a row with those of padding.
    pub fn tokens(&self, encoding: &Encoding, row: &Tensor) -> Tensor {
        let (own, all) = (encoding.len() as i64, row.size()[0]);
        let start = if self.tokenizer.padding_side() == crate::text::Side::Left { all - own } else { 0 };
        row.narrow(0, start, own)
    }

    /// The output `name` of the class.
    ///
    /// # Errors
    /// [`Error::Input`] when the class does not return it.
    pub fn output<'a>(&self, outputs: &'a Outputs, name: &str) -> Result<&'a Tensor> {
        let missing = || Error::input("model", format!("`{}` returns no `{name}`", self.model.class()));
        outputs.get(name).ok_or_else(missing)
    }

    fn batch(&self, places: Vec<usize>, encodings: Vec<Encoding>) -> Result<Batch> {
        let mut inputs = self.tokenizer.batch(encodings.clone())?;
        let mask = inputs.need("attention_mask")?.shallow_clone();
        for name in ["attention_mask", "token_type_ids"] {
            if !self.model.arguments().iter().any(|argument| argument.name == name) {
                inputs.remove(name);
            }
        }
        Ok(Batch { places, encodings, inputs, mask })
    }
}

/// The numbers of a tensor on the CPU.
pub(super) fn numbers<'a, T: TryFrom<&'a Tensor, Error = tch::TchError>>(tensor: &'a Tensor) -> Result<T> {
    T::try_from(tensor).map_err(|error| Error::Libtorch(error.to_string()))
}

/// The most tokens that the model takes; `usize::MAX` where nothing limits them.
fn positions(model: &Model) -> Result<usize> {
    let ids = model.arguments().iter().find(|argument| argument.name == "input_ids").ok_or_else(|| {
        Error::input("input_ids", format!("is not an argument of `{}`, which reads no text", model.class()))
    })?;
    let limit = ids.shape.iter().find_map(|dim| match dim {
        Dim::AtMost(_, limit) => usize::try_from(*limit).ok(),
        _ => None,
    });
    Ok(limit.unwrap_or(usize::MAX))
}
