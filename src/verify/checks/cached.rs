//! Checks on generation: greedy decoding, and the cache behind it.

use tch::{Kind, Tensor};

use super::padding::{dims_named, named};
use crate::generation::ids_name;
use crate::model::Generation;
use crate::verify::case::TEXT;
use crate::verify::compare::{Comparison, Difference, compare};
use crate::verify::{Outcome, Status, Subject, checks::Check};
use crate::{Cache, GenerationOptions, Inputs, Model, Outputs, Result};

/// Greedy decoding of the prompt gives Python's ids, every one of them.
pub fn generate(subject: &Subject) -> Result<Outcome> {
    let Some((_, expected)) = &subject.case.decoding else {
        return Outcome::skipped("the case shows no greedy decoding");
    };
    let model = subject.model()?;
    let Some((prompt, max_new_tokens)) = model.generation().and_then(|generation| subject.case.prompt(generation))
    else {
        return Ok(Outcome::of(Status::Failed, format!("`{}` does not generate", model.class())));
    };
    let options = GenerationOptions { max_new_tokens, ..GenerationOptions::default() };
    let generated = model.generate(&prompt, &options)?;
    let generated = generated.to_device(tch::Device::Cpu);
    let expected = expected.to_kind(Kind::Int64);
    if generated.size() == expected.size() && generated.equal(&expected) {
        let worst = Difference { output: "generated_ids".into(), error: 0.0, tolerance: 0.0 };
        return Ok(Outcome { worst: Some(worst), ..Outcome::of(Status::Passed, "") });
    }
    let why = format!("generates {}, Python {}", rows(&generated), rows(&expected));
    Ok(Outcome::of(Status::Failed, why))
}

fn rows(ids: &Tensor) -> String {
    Vec::<Vec<i64>>::try_from(ids).map_or_else(|_| format!("{:?}", ids.size()), |rows| format!("{rows:?}"))
}

/// Tokens passed in chunks through a cache give what one pass gives.
pub fn cache(subject: &Subject) -> Result<Outcome> {
    let model = subject.model()?;
    let Some(generation) = model.generation() else { return Outcome::skipped("the class does not generate") };
    let ids = ids_name(generation);
    let plain =
        subject.case.inputs().iter().fold(Inputs::new(), |inputs, (name, x)| inputs.with(name, x.shallow_clone()));
    let Some(tokens) = plain.get(ids).and_then(|ids| ids.size().last().copied()) else {
        return Outcome::skipped(format!("the case has no `{ids}`"));
    };
    let whole = model.forward(&plain)?;
    // Images and the like come with the tokens that stand for them, so only what follows them is passed on its own.
    let chunkable = generation != Generation::DecoderOnly
        || plain.iter().all(|(name, _)| TEXT.contains(&name) || name.starts_with("encoder_"));
    let sizes: &[i64] = if chunkable { &[1, 2, 3, 5] } else { &[] };
    let mut plans: Vec<Vec<i64>> = vec![vec![tokens - 1, 1]];
    plans.extend(
        sizes
            .iter()
            .filter(|size| **size < tokens)
            .map(|size| (0..tokens).step_by(*size as usize).map(|start| (*size).min(tokens - start)).collect()),
    );
    let mut comparison = Comparison::default();
    for plan in plans.iter().filter(|plan| plan.iter().all(|size| *size > 0)) {
        let chunked = in_chunks(&model, generation, &plain, plan)?;
        comparison.absorb(&format!("chunks {plan:?}"), at_real(subject, generation, &plain, &whole, &chunked));
    }
    Ok(comparison.into())
}

/// Outputs of each chunk.
fn in_chunks(model: &Model, generation: Generation, inputs: &Inputs, plan: &[i64]) -> Result<Vec<Outputs>> {
    let (ids, arguments) = (ids_name(generation), model.arguments());
    let own = arguments.iter().find(|argument| argument.name == ids).and_then(|ids| named(ids.shape.last()?));
    let mask_name = if generation == Generation::DecoderOnly { "attention_mask" } else { "decoder_attention_mask" };
    let mut cache = Cache::new();
    let mut start = 0;
    let mut outputs = Vec::new();
    for length in plan {
        let mut chunk = Inputs::new();
        for (name, tensor) in inputs.iter() {
            let dims = dims_named(arguments, name, tensor, own.as_slice());
            let later_only_once =
                generation == Generation::DecoderOnly && !TEXT.contains(&name) && !name.starts_with("encoder_");
            let tensor = match name {
                _ if name == mask_name => tensor.narrow(-1, 0, start + length),
                _ if dims.is_empty() && later_only_once && start > 0 => continue,
                _ => dims.into_iter().fold(tensor.shallow_clone(), |tensor, dim| tensor.narrow(dim, start, *length)),
            };
            chunk.insert(name, tensor);
        }
        outputs.push(model.forward_cached(&chunk, &mut cache)?);
        start += length;
    }
    Ok(outputs)
}

/// Compares outputs per token where the token is no padding.
fn at_real(
    subject: &Subject,
    generation: Generation,
    inputs: &Inputs,
    whole: &Outputs,
    chunks: &[Outputs],
) -> Comparison {
    let mut comparison = Comparison::default();
    let mask = if generation == Generation::DecoderOnly { "attention_mask" } else { "decoder_attention_mask" };
    let real = inputs.get(mask).map(|mask| mask.to_kind(Kind::Bool).to_device(subject.setting.device));
    for name in ["logits", "last_hidden_state"] {
        // What belongs to an image beside the text has no part per token.
        let per_token =
            |output: &&Tensor| inputs.get(ids_name(generation)).is_none_or(|ids| output.size()[1] == ids.size()[1]);
        let Some(expected) = whole.get(name).filter(per_token) else { continue };
        let parts: Vec<_> = chunks.iter().filter_map(|outputs| outputs.get(name)).collect();
        if parts.len() != chunks.len() {
            comparison.fail(name, format!("`{name}` is not produced by every chunk"));
            continue;
        }
        let (mut actual, mut expected) = (Tensor::cat(&parts, 1), expected.shallow_clone());
        if let Some(real) = &real
            && actual.size() == expected.size()
        {
            (actual, expected) = (actual.index(&[Some(real)]), expected.index(&[Some(real)]));
        }
        comparison.add(name, compare(name, &actual, &expected, subject.tolerance(Check::Cache, name)));
    }
    comparison
}
