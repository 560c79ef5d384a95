//! Forward passes and decoding of every row, on the CPU with all its cores.

mod common;

use criterion::{Criterion, SamplingMode, Throughput};
use tch_transformers::GenerationOptions;

fn main() -> anyhow::Result<()> {
    let mut criterion = Criterion::default().configure_from_args();
    for row in common::rows()?.into_iter().filter(|row| row.lengths.is_empty()) {
        let mut group = criterion.benchmark_group(if row.new_tokens.is_some() { "decode" } else { "forward" });
        group.sample_size(10).sampling_mode(SamplingMode::Flat);
        if let Some(new_tokens) = row.new_tokens {
            // Shown as elements per second: tokens.
            group.throughput(Throughput::Elements(new_tokens as u64));
        }
        let mut loaded = None;
        group.bench_function(&row.name, |bencher| {
            // Loading waits until the row is really run: a filter may leave it out.
            let (model, inputs) = loaded.get_or_insert_with(|| {
                let model = row.model().expect("the row loads");
                let inputs = row.inputs(&model).expect("the row has inputs");
                (model, inputs)
            });
            match row.new_tokens {
                Some(new_tokens) => {
                    let options = GenerationOptions { max_new_tokens: new_tokens, ..Default::default() };
                    bencher.iter(|| model.generate(inputs, &options).expect("generation works"));
                }
                None => bencher.iter(|| model.forward(inputs).expect("the pass works")),
            }
        });
        group.finish();
    }
    criterion.final_summary();
    Ok(())
}
