//! What a model has read of a text, for many generations to go on from.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::GenerationConfig;
use super::decoding::numbers;
use super::text::{Text, ids_name, mask_name, to_i64};
use crate::error::catch;
use crate::{Error, Inputs, Model, Result};

/// The beginning of a text that a model has passed once, and the cache that remembers it.
///
/// Any number of generations go on from it, one after the other or at once from several threads; none changes it. A clone
/// is another handle on the same storage.
#[derive(Debug, Clone)]
pub struct Prefix(Arc<Read>);

#[derive(Debug)]
struct Read {
    /// Where the model's module stands in memory: what another model has computed is of no use to it.
    module: usize,
    /// Tensors may be read by one thread at a time.
    text: Mutex<Text>,
}

impl Prefix {
    /// What `model` has read of `text`.
    pub(super) fn new(model: &Model, text: Text) -> Self {
        Self(Arc::new(Read { module: place(model), text: Mutex::new(text) }))
    }

    fn check(&self, model: &Model) -> Result<()> {
        if self.0.module == place(model) {
            return Ok(());
        }
        Err(Error::input("prefix", "was read by another model; what that remembers means nothing here"))
    }

    fn text(&self) -> MutexGuard<'_, Text> {
        self.0.text.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Number of tokens of a row, padding included, that need not be passed again.
    pub fn len(&self) -> usize {
        usize::try_from(self.text().cache.len()).unwrap_or(0)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        usize::try_from(self.text().rows()).unwrap_or(0)
    }

    /// What of it a text of `ids` begins with too, for that text to go on from: all but the last of `ids` at most, which is
    /// there to be passed.
    ///
    /// `None` where nothing is of use: the first tokens differ, or the model cannot go back to the last that both have. A
    /// recurrent state does not go back, and a layer that sees a window has forgotten what lies before it.
    ///
    /// # Errors
    /// [`Error::Input`] where another model has read it, and where it has several rows.
    pub fn shared(&self, model: &Model, ids: &[i64]) -> Result<Option<Self>> {
        self.check(model)?;
        let _guard = tch::no_grad_guard();
        catch(|| self.first_shared(model, ids))
    }

    fn first_shared(&self, model: &Model, ids: &[i64]) -> Result<Option<Self>> {
        let mut text = self.text();
        if text.rows() != 1 {
            return Err(Error::input("prefix", format!("has {} rows, which one text cannot share", text.rows())));
        }
        let (read, known) = (text.cache.len(), numbers(&text.ids)?);
        let common = std::iter::zip(&known, ids).take_while(|(known, given)| known == given).count();
        let common = to_i64(common.min(ids.len().saturating_sub(1))).min(read);
        // What a model makes of a text may depend on whether that is longer than a limit.
        let limit = model.module().renewed_beyond().unwrap_or(i64::MAX);
        let longer = [common, read, to_i64(ids.len())].map(|tokens| tokens > limit);
        if common == 0 || longer.iter().any(|one| *one != longer[0]) || model.module().reads_both_ways() {
            return Ok(None);
        }
        if common == read {
            return Ok(Some(self.clone()));
        }
        let mut first = text.fork(1)?;
        drop(text);
        Ok(first.truncate(common).is_ok().then(|| Self::new(model, first)))
    }

    /// Bytes of the storage that remembers it.
    pub fn bytes(&self) -> usize {
        self.text().cache.bytes()
    }

    /// The text of `inputs`, which begins with this one, every row as often as `config` wants it.
    pub(super) fn continued(&self, model: &Model, inputs: &Inputs, config: &GenerationConfig) -> Result<Text> {
        self.check(model)?;
        let mut text = self.text();
        let (ids_name, mask_name) = (ids_name(text.generation), mask_name(text.generation));
        let known = [ids_name, mask_name, "position_ids", "token_type_ids"];
        if let Some((name, _)) = inputs.iter().find(|(name, _)| !known.contains(name)) {
            return Err(Error::input(name, "belongs to the prefix, which has been read; leave it out"));
        }
        let inputs = inputs.to(model.device(), model.kind());
        let Some(ids) = inputs.get(ids_name) else {
            if let Some((name, _)) = inputs.iter().next() {
                return Err(Error::input(name, format!("stands alone; expected `{ids_name}` of the whole text too")));
            }
            return text.fork(config.num_return_sequences);
        };
        let (shape, rows, read) = (ids.size(), text.rows(), text.cache.len());
        let [given, tokens] = shape[..] else {
            return Err(Error::input(ids_name, format!("has shape {shape:?}, expected [batch, tokens]")));
        };
        if given == 0 || given % rows != 0 {
            let message = format!("has {given} rows, which are no multiple of the {rows} of the prefix");
            return Err(Error::input(ids_name, message));
        }
        let times = usize::try_from(given / rows).unwrap_or(1);
        let mut whole = text.fork(times)?;
        drop(text);
        let begins = |known: &tch::Tensor, given: &tch::Tensor| {
            given.size()[1] >= read && known.narrow(1, 0, read).equal(&given.narrow(1, 0, read).to_kind(known.kind()))
        };
        if !begins(&whole.ids, ids) {
            return Err(Error::input(ids_name, format!("does not begin with the {read} tokens of the prefix")));
        }
        if tokens > read || whole.len() > read {
            whole.truncate(read)?;
        }
        if tokens > read {
            whole.push(&ids.narrow(1, read, tokens - read).to_kind(whole.ids.kind()));
        }
        if let Some(mask) = inputs.get(mask_name) {
            let known = whole.mask.take().unwrap_or_else(|| whole.ids.ones_like());
            if mask.size() != ids.size() || !begins(&known, mask) {
                let message =
                    format!("does not begin with that of the {read} tokens of the prefix, or has another shape");
                return Err(Error::input(mask_name, message));
            }
            (whole.mask, whole.positions) = (Some(mask.shallow_clone()), None);
        }
        if let Some(positions) = inputs.get("position_ids") {
            whole.positions = Some(positions.shallow_clone());
        }
        if let Some(segments) = inputs.get("token_type_ids") {
            whole.segments = Some(segments.shallow_clone());
        }
        match config.num_return_sequences {
            1 => whole.checked(model),
            times => whole.checked(model)?.fork(times),
        }
    }
}

/// Where the module of `model` stands.
fn place(model: &Model) -> usize {
    std::ptr::from_ref(model.module()).cast::<()>().addr()
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tch::Tensor;

    use super::super::watched::{config, prompt, rows, taken, watched};
    use super::*;

    const TEXT: [i64; 8] = [3, 5, 9, 3, 5, 7, 4, 11];

    /// Decoders with learned and rotary positions, windows, recurrent states, and biases for positions.
    const CASES: &[&str] = &["gpt2", "llama", "mistral", "gemma2", "mamba", "jamba", "qwen3_next", "bloom"];

    #[test]
    fn a_prefix_is_passed_once_and_changes_nothing() {
        for case in CASES {
            let (model, count) = watched(&format!("{case}/text-generation"));
            let settings = config(json!({"max_new_tokens": 6}));
            let whole = rows(&model.generate_with(&prompt(&[TEXT]), &settings, 0).unwrap());
            let sampling = config(json!({"max_new_tokens": 6, "do_sample": true, "num_return_sequences": 3}));
            let drawn = rows(&model.generate_with(&prompt(&[TEXT]), &sampling, 5).unwrap());
            let two = [TEXT, [3, 5, 9, 3, 5, 1, 2, 6]];
            let both = rows(&model.generate_with(&prompt(&two), &settings, 0).unwrap());
            taken(&count);

            let prefix = model.prefill(&prompt(&[[3, 5, 9, 3, 5]])).unwrap();
            assert_eq!((taken(&count), prefix.len(), prefix.rows()), (5, 5, 1), "{case}");
            let bytes = prefix.bytes();
            for _ in 0..2 {
                let found = model.generator(&settings).prefix(&prefix).run(&prompt(&[TEXT])).unwrap();
                assert_eq!(rows(&found.ids), whole, "{case}");
                // The last token of a text is never passed.
                assert_eq!(taken(&count), 3 + 5, "{case}");
                let found = model.generator(&sampling).seed(5).prefix(&prefix).run(&prompt(&[TEXT])).unwrap();
                assert_eq!((rows(&found.ids), taken(&count)), (drawn.clone(), 3 + 5), "{case}");
                let found = model.generator(&settings).prefix(&prefix).run(&prompt(&two)).unwrap();
                assert_eq!((rows(&found.ids), taken(&count)), (both.clone(), 3 + 5), "{case}");
            }
            assert_eq!((prefix.len(), prefix.bytes()), (5, bytes), "{case}");

            let whole_prompt = model.generator(&settings).prefix(&prefix).prefill(&prompt(&[TEXT])).unwrap();
            assert_eq!((taken(&count), whole_prompt.len()), (3, 8), "{case}");
            let found = model.generator(&settings).prefix(&whole_prompt).run(&Inputs::new()).unwrap();
            assert_eq!((rows(&found.ids), taken(&count)), (whole, 5), "{case}");
        }
    }

    #[test]
    fn a_chat_goes_on_from_what_was_generated() {
        for case in CASES {
            let (model, count) = watched(&format!("{case}/text-generation"));
            let settings = config(json!({"max_new_tokens": 3, "prefill_chunk_size": 2}));
            let first = model.generator(&settings).run(&prompt(&[[3, 5, 9, 3]])).unwrap();
            assert_eq!((taken(&count), first.prefix.len()), (4 + 2, 6), "{case}");
            let said = Tensor::cat(&[&first.ids, &Tensor::from_slice(&[7i64, 4]).view([1, 2])], 1);
            let whole = Inputs::new().with("input_ids", said);
            let second = model.generator(&settings).prefix(&first.prefix).run(&whole).unwrap();
            assert_eq!(taken(&count), 3 + 2, "{case}");
            assert_eq!(rows(&second.ids), rows(&model.generate_with(&whole, &settings, 0).unwrap()), "{case}");
            // Without another word it goes on with its own.
            taken(&count);
            let more = model.generator(&settings).prefix(&first.prefix).run(&Inputs::new()).unwrap();
            assert_eq!(
                (rows(&more.ids)[0][..7].to_vec(), taken(&count)),
                (rows(&first.ids)[0].clone(), 1 + 2),
                "{case}"
            );
        }
    }

    #[test]
    fn what_two_texts_share_is_passed_once() {
        let settings = config(json!({"max_new_tokens": 4}));
        for case in CASES {
            let (model, count) = watched(&format!("{case}/text-generation"));
            let recurrent = ["mamba", "jamba", "qwen3_next"].contains(case);
            let first = model.generator(&settings).run(&prompt(&[[3, 5, 9, 3]])).unwrap();
            let read = rows(&first.ids)[0].clone();
            taken(&count);
            // The whole of it, some of it, nothing; and a text that is over before it.
            let differs = |at: usize| if read[at] == 7 { 8 } else { 7 };
            let after = [&read[..7], &[differs(7), 4]].concat();
            for (text, common) in
                [(after, 7), (vec![3, 5, differs(2), 4, 4], 2), (vec![4, 5, 9, 3], 0), (vec![3, 5, 9], 2), (vec![3], 0)]
            {
                let whole = Inputs::new().with("input_ids", Tensor::from_slice(&text).unsqueeze(0));
                let expected = rows(&model.generate_with(&whole, &settings, 0).unwrap());
                taken(&count);
                let shared = first.prefix.shared(&model, &text).unwrap();
                let generator = model.generator(&settings);
                let (kept, found) = match &shared {
                    Some(shared) => (shared.len(), generator.prefix(shared).run(&whole).unwrap()),
                    None => (0, generator.run(&whole).unwrap()),
                };
                assert_eq!(kept, if recurrent && common < 7 { 0 } else { common }, "{case}: {text:?}");
                assert_eq!(taken(&count) as usize, text.len() - kept + 3, "{case}: {text:?}");
                assert_eq!(rows(&found.ids), expected, "{case}: {text:?}");
            }
            assert_eq!(first.prefix.len(), 7, "{case}");
        }
    }

    #[test]
    fn what_a_window_has_left_behind_is_not_shared() {
        let settings = config(json!({"max_new_tokens": 60}));
        let (model, _) = watched("mistral/text-generation");
        let first = model.generator(&settings).run(&prompt(&[[3, 5, 9, 3]])).unwrap();
        let mut text = rows(&first.ids)[0][..20].to_vec();
        assert!(first.prefix.shared(&model, &text).unwrap().is_none());
        // All of it ends where the window is.
        text = rows(&first.ids)[0].clone();
        assert_eq!(first.prefix.shared(&model, &text).unwrap().map(|shared| shared.len()), Some(63));
    }

    #[test]
    fn padded_rows_and_decoders_go_on_too() {
        let settings = config(json!({"max_new_tokens": 5, "cache_implementation": "static"}));
        let mask = |ids: &Inputs| ids.get("input_ids").unwrap().ne(0).to_kind(tch::Kind::Int64);
        let masked = |ids: Inputs| {
            let mask = mask(&ids);
            ids.with("attention_mask", mask)
        };
        let whole = masked(prompt(&[[0, 0, 7, 4, 9, 2], [3, 5, 9, 3, 5, 4]]));
        for case in ["gpt2", "gemma2", "jamba", "opt"] {
            let (model, count) = watched(&format!("{case}/text-generation"));
            let expected = rows(&model.generate_with(&whole, &settings, 0).unwrap());
            let prefix = model.prefill(&masked(prompt(&[[0, 0, 7, 4], [3, 5, 9, 3]]))).unwrap();
            taken(&count);
            let found = model.generator(&settings).prefix(&prefix).run(&whole).unwrap();
            assert_eq!((rows(&found.ids), taken(&count)), (expected, 2 + 4), "{case}");
        }
        let (model, count) = watched("t5/text2text-generation");
        let settings = config(json!({"max_new_tokens": 5}));
        let expected = rows(&model.generate_with(&prompt(&[TEXT]), &settings, 0).unwrap());
        let prefix = model.prefill(&prompt(&[TEXT])).unwrap();
        taken(&count);
        let found = model.generator(&settings).prefix(&prefix).run(&Inputs::new()).unwrap();
        assert_eq!((rows(&found.ids), taken(&count)), (expected, 4));
    }

    #[test]
    fn a_prefix_is_read_by_several_threads_at_once() {
        let (model, _) = watched("llama/text-generation");
        let prefix = model.prefill(&prompt(&[[3, 5, 9, 3, 5]])).unwrap();
        let settings = config(json!({"max_new_tokens": 6}));
        let whole = rows(&model.generate_with(&prompt(&[TEXT]), &settings, 0).unwrap());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let found = model.generator(&settings).prefix(&prefix.clone()).run(&prompt(&[TEXT])).unwrap();
                    assert_eq!(rows(&found.ids), whole);
                });
            }
        });
    }

    #[test]
    fn what_does_not_fit_a_prefix_is_refused_by_name() {
        let (model, _) = watched("gpt2/text-generation");
        let (other, _) = watched("gpt2/text-generation");
        let prefix = model.prefill(&prompt(&[[3, 5, 9], [3, 5, 7]])).unwrap();
        let settings = config(json!({"max_new_tokens": 2}));
        let mask = |rows: &[[i64; 4]]| prompt(rows).remove("input_ids").unwrap();
        let fits = [[3, 5, 9, 1], [3, 5, 7, 1]];
        let refused = [
            ("input_ids", prompt(&[[3, 5, 9, 1]])),
            ("input_ids", prompt(&[[3, 5, 9, 1], [3, 5, 9, 1]])),
            ("input_ids", prompt(&[[3, 5], [3, 5]])),
            ("input_ids", prompt(&fits).with("input_ids", Tensor::from_slice(&[3i64, 5, 9, 1]))),
            ("attention_mask", prompt(&fits).with("attention_mask", mask(&[[0, 1, 1, 1], [1, 1, 1, 1]]))),
            ("attention_mask", Inputs::new().with("attention_mask", mask(&fits))),
            ("pixel_values", prompt(&fits).with("pixel_values", mask(&fits))),
        ];
        for (name, inputs) in refused {
            match model.generator(&settings).prefix(&prefix).run(&inputs) {
                Err(Error::Input { name: at, message }) => assert_eq!(at, name, "{message}"),
                other => panic!("{name}: {other:?}"),
            }
        }
        assert!(model.generator(&settings).prefix(&prefix).run(&prompt(&fits)).is_ok());
        let strange = other.generator(&settings).prefix(&prefix).run(&prompt(&fits)).unwrap_err();
        assert!(strange.to_string().contains("another model"), "{strange}");
        for (model, told) in [(&other, "another model"), (&model, "2 rows")] {
            let strange = prefix.shared(model, &[3, 5, 9, 1]).unwrap_err();
            assert!(strange.to_string().contains(told), "{strange}");
        }
    }
}
